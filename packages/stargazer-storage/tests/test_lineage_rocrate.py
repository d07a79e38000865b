"""A lineage as an RO-Crate, which the validator of the profile takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import StorageError
from stargazer.assets.provenance import ToolUse
from stargazer.storage.lineage import why
from stargazer.storage.lineage.rocrate import METADATA, as_rocrate, write_rocrate
from stargazer.storage.store import open_store

from .lineage_store import imported, made

UNKNOWABLE = {"publisher", "affiliation", "availability"}  # recommended, but nothing that a store knows


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def step(store):
    """reads -> align -> call, by two people with tools of two kinds."""
    when = {"started": "2026-11-23T14:00:00.123456Z", "finished": "2026-11-23T14:00:01Z", "account": "ana li"}
    reads = imported(store, "reads.txt")
    tools = [
        ToolUse(name="bwa", version="0.4 beta", source="wheel bwa-mem3==0.4.4"),
        ToolUse(name="samtools", version="1.24", source="wheel pysam==0.24.1"),
    ]
    bam = made(store, "align", "bam", {"reads": reads}, tools=tools, distribution="stargazer-tasks 0.1.0", **when,
               parameters={"seed": 1, "names": ["a", "b"]}, commands=[["bwa", "mem", "a b"]])  # fmt: skip
    return why(
        store, made(store, "call", "vcf", {"alignment": bam, "again": bam}, distribution="mine 1", **when).cid
    )


def entities(crate: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [entity for entity in crate["@graph"] if entity["@type"] == kind]


def test_every_execution_is_an_action_between_its_files(step):
    crate = as_rocrate(step)
    call, align = sorted(entities(crate, "CreateAction"), key=lambda action: action["name"], reverse=True)
    assert (call["name"], align["name"]) == ("Run of call", "Run of align")
    assert call["object"] == align["result"]
    assert call["result"] == {"@id": f"ipfs://{step.entry.cid}"}
    assert align["startTime"] == "2026-11-23T14:00:00.123+00:00"
    assert "bwa mem 'a b'" in align["description"]
    parameters = {found["name"]: found["value"] for found in entities(crate, "PropertyValue")}
    assert parameters == {"seed": "1", "names": '["a", "b"]'}


def test_a_task_of_a_notebook_is_described_by_its_cell(store):
    reads = imported(store, "reads.txt")
    called = made(store, "call", "vcf", {"reads": reads}, notebook="calls.py", cell="calling")
    (program,) = entities(as_rocrate(why(store, called.cid)), "SoftwareApplication")
    assert (program["name"], program["description"]) == ("call", "cell calling of calls.py, code unknown")


def test_everything_that_is_referred_to_is_there_once(step):
    graph = as_rocrate(step)["@graph"]
    ids = [entity["@id"] for entity in graph]
    assert len(ids) == len(set(ids))
    referred = set(_references(graph))
    assert referred - set(ids) == {"https://w3id.org/ro/crate/1.1"}


def test_the_same_lineage_is_the_same_text(store, step):
    assert json.dumps(as_rocrate(step)) == json.dumps(as_rocrate(why(store, step.entry.cid)))


def test_no_path_of_this_machine_is_in_it(store, step):
    assert str(store.root.parent) not in json.dumps(as_rocrate(step))


def test_a_folder_that_cannot_be_written_is_an_error(step, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_rocrate(step, tmp_path / "file" / "folder")


def test_the_validator_takes_it(step, tmp_path, monkeypatch):
    issues = validated(write_rocrate(step, tmp_path / "crate").parent, monkeypatch)
    assert [text for severity, text in issues if severity == "REQUIRED"] == []
    assert [text for _, text in issues if not any(word in text for word in UNKNOWABLE)] == []


def test_an_import_alone_is_a_crate_too(store, tmp_path, monkeypatch):
    step = why(store, imported(store, "reads").cid)
    issues = validated(write_rocrate(step, tmp_path / "crate").parent, monkeypatch)
    assert [text for severity, text in issues if severity == "REQUIRED"] == []


def test_the_validator_would_notice(step, tmp_path, monkeypatch):
    crate = as_rocrate(step)
    for action in entities(crate, "CreateAction"):
        del action["instrument"]
    (tmp_path / METADATA).write_text(json.dumps(crate))
    required = [text for severity, text in validated(tmp_path, monkeypatch) if severity == "REQUIRED"]
    assert required
    assert all("instrument" in text for text in required)


def validated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The issues that the validator finds, without a network: the context comes from the rocrate distribution."""
    models = pytest.importorskip(
        "rocrate_validator.models", reason="needs `pip install roc-validator rocrate`"
    )
    rocrate = pytest.importorskip("rocrate", reason="needs `pip install roc-validator rocrate`")
    import requests
    from rocrate_validator import services
    from rocrate_validator.utils.http import HttpRequester

    context = (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_bytes()

    def get(self: Any, url: str, **options: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.url, response._content = 200, url, context
        response.headers["Content-Type"] = "application/ld+json"
        assert url == "https://w3id.org/ro/crate/1.1/context"
        return response

    monkeypatch.setattr(HttpRequester, "get", get, raising=False)
    settings = models.ValidationSettings(
        rocrate_uri=str(folder),
        profile_identifier="process-run-crate-0.5",
        requirement_severity=models.Severity.RECOMMENDED,
        skip_availability_check=True,
    )
    result = services.validate(settings)
    return [(issue.severity.name, str(issue.message)) for issue in result.get_issues()]


def _references(value: Any) -> Any:
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        for item in value.values():
            yield from _references(item)
