"""Learners on disk: the same scores after saving, one clear line for whatever is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fewshot_problems import Shifted

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'kshot[train]'")

from kshot.learners import LEARNERS, LearnerInputError, make_learner  # noqa: E402
from kshot.learners.averaging import OutputAverage, average_weights  # noqa: E402
from kshot.learners.checkpoint import restore_training, save_training  # noqa: E402
from kshot.learners.manifest import MANIFEST, WEIGHTS, Files  # noqa: E402
from kshot.learners.networks import RowNetwork  # noqa: E402
from kshot.learners.outer_loop import OuterLoop  # noqa: E402
from kshot.learners.registry import CLASSICS  # noqa: E402
from kshot.learners.torch_learner import TorchLearner  # noqa: E402
from kshot.learners.training import Training  # noqa: E402
from kshot.learners.weights import Provenance, pack, unpack  # noqa: E402

EPISODE = Shifted(k_shot=2).draw(np.random.default_rng(0))
CONFIG = OuterLoop(steps=2, tasks_per_step=2)


def made(name: str = "prototypical", **settings: object) -> TorchLearner:
    learner = make_learner(name, **settings)
    assert isinstance(learner, TorchLearner)
    return learner


def scores(learner: TorchLearner) -> np.ndarray:
    return learner.adapt_to(EPISODE).score(EPISODE.queries)


@pytest.mark.parametrize("name", [name for name in LEARNERS if name not in CLASSICS])
def test_a_saved_learner_scores_the_same(name: str) -> None:
    learner = made(name, seed=7)
    with torch.no_grad():
        for parameter in learner.module.parameters():
            parameter.add_(0.01)
    told = Provenance(("kdd",), {"table": "abc"}, {"steps": 3})
    again, provenance = unpack(pack(learner, told), "prior", expect=name)
    assert np.array_equal(scores(learner), scores(again))
    assert provenance == told
    assert again.settings() == learner.settings()


def test_the_files_are_json_and_safetensors_with_the_hash_of_the_weights() -> None:
    files = pack(made())
    manifest = json.loads(files[MANIFEST])
    import hashlib

    assert manifest["learner"] == "prototypical"
    assert manifest["files"] == {WEIGHTS: hashlib.sha256(files[WEIGHTS]).hexdigest()}
    assert pack(made()) == files, "the same learner is the same bytes"


def broken(change: str) -> Files:
    files = pack(made())
    manifest = json.loads(files[MANIFEST])
    if change == "torn":
        files[WEIGHTS] = files[WEIGHTS][:-10]
    elif change == "torn manifest":
        files[MANIFEST] = files[MANIFEST][:40]
    elif change == "no weights":
        del files[WEIGHTS]
    elif change == "no manifest":
        del files[MANIFEST]
    else:
        manifest.update({"newer": {"format": 99}, "other encoding": {"channels": ["rank"]},
                         "own network": {"model": "mynets:Wide"}}[change])  # fmt: skip
        files[MANIFEST] = json.dumps(manifest).encode()
    return files


@pytest.mark.parametrize("change, line", [
    ("torn", r"prior/weights.safetensors: torn or altered, its hash does not match"),
    ("torn manifest", "prior/manifest.json: torn or not a manifest of kshot"),
    ("no weights", "prior: weights.safetensors is missing"),
    ("no manifest", "prior: there is no manifest.json"),
    ("newer", "written by a newer kshot"),
    ("other encoding", "trained on another encoding of cells"),
    ("own network", r"trained with a network of its own \(mynets:Wide\); name it by --model"),
])  # fmt: skip
def test_what_is_wrong_with_a_folder_is_told_in_one_line(change: str, line: str) -> None:
    with pytest.raises(LearnerInputError, match=line) as caught:
        unpack(broken(change), "prior")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_learner_is_refused() -> None:
    with pytest.raises(LearnerInputError, match="prior: holds the learner prototypical, not maml"):
        unpack(pack(made()), "prior", expect="maml")


def test_a_network_of_somebody_else_must_be_given_and_fit() -> None:
    files = pack(made("maml", network=RowNetwork(2, width=8)), Provenance(model="mynets:Net"))
    again, _ = unpack(files, "prior", network=RowNetwork(2, width=8))
    assert np.array_equal(scores(again), scores(unpack(files, "prior", network=RowNetwork(2, width=8))[0]))
    with pytest.raises(LearnerInputError, match="the weights do not fit the network"):
        unpack(files, "prior", network=RowNetwork(2, width=9))


def training(learner: TorchLearner, **changed: object) -> Training:
    from dataclasses import replace

    return Training(learner, Shifted(), replace(CONFIG, **changed), None)


def test_a_training_goes_on_only_with_what_it_began_with() -> None:
    learner = made()
    files = save_training(training(learner), learner, {"table": "abc"})

    def resume(other: TorchLearner, inputs: dict[str, str], **changed: object) -> None:
        restore_training(training(other, **changed), other, files, "out/checkpoint", inputs)

    resume(made(), {"table": "abc"})
    with pytest.raises(LearnerInputError, match="holds the learner prototypical, not relation"):
        resume(made("relation"), {"table": "abc"})
    with pytest.raises(LearnerInputError, match=r"another learning_rate \(outer_loop\)"):
        resume(made(), {"table": "abc"}, learning_rate=0.5)
    with pytest.raises(LearnerInputError, match=r"another table \(inputs\)"):
        resume(made(), {"table": "xyz"})
    with pytest.raises(LearnerInputError, match=r"another max_columns \(settings\)"):
        resume(made(max_columns=4), {"table": "abc"})
    with pytest.raises(LearnerInputError, match="a trained learner, not a training"):
        restore_training(training(learner), learner, pack(learner), "out", {})


def test_weights_are_averaged_where_learners_are_alike() -> None:
    one, other = made("maml", seed=0), made("maml", seed=1)
    mean = average_weights([one, other])
    for name, value in mean.module.state_dict().items():
        expected = (one.module.state_dict()[name] + other.module.state_dict()[name]) / 2
        torch.testing.assert_close(value, expected)
    with pytest.raises(LearnerInputError, match="not of one kind and size"):
        average_weights([one, made("anil")])


def test_outputs_are_averaged_in_units_of_each_members_spread() -> None:
    members = [made("prototypical", seed=seed).adapt_to(EPISODE) for seed in range(2)]
    mean = OutputAverage(members, EPISODE.reference).score(EPISODE.queries)
    each = []
    for member in members:
        known = member.score(EPISODE.reference)
        each.append((member.score(EPISODE.queries) - np.median(known)) / known.std())
    np.testing.assert_allclose(mean, np.mean(each, 0))
