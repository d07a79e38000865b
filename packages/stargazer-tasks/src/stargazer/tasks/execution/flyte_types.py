"""Makes assets a type of Flyte: they travel as asset key, CID and metadata, never as a path."""

from __future__ import annotations

import json
from typing import Any

from flyte.types import TypeEngine, TypeTransformer, TypeTransformerFailedError
from flyteidl2.core import literals_pb2, types_pb2  # type: ignore[import-untyped]
from google.protobuf import struct_pb2  # type: ignore[import-untyped]
from stargazer.assets import Asset, IpFile, StargazerError, asset_class
from stargazer.storage import is_cid

__all__ = ["AssetTransformer", "register"]

TAG = "stargazer.Asset"
FORM = "the CID of a registered file, or a record as JSON (asset_key, cid and keyvalues)"


class AssetTransformer(TypeTransformer[Asset]):
    """Converts any asset class; unions, lists, dicts and named tuples of assets follow from it."""

    def __init__(self) -> None:
        # Flyte's own assertion is off: records and CIDs (command line, JSON) are taken as well
        super().__init__(TAG, Asset, enable_type_assertions=False)

    def get_literal_type(self, t: type[Asset]) -> types_pb2.LiteralType:
        """Text: of any other type Flyte's command line takes JSON only, no plain CID.

        It names the class but not its subclasses, which user code may add to at any time.
        """
        metadata = struct_pb2.Struct()
        metadata.update({"title": t.__name__, "description": FORM})
        return types_pb2.LiteralType(
            simple=types_pb2.SimpleType.STRING, metadata=metadata, structure=types_pb2.TypeStructure(tag=TAG)
        )

    async def to_literal(
        self, python_val: Any, python_type: type[Asset], expected: Any
    ) -> literals_pb2.Literal:
        """The literal of a stored asset; or of its record as a dict or JSON, or of the CID that it is registered by."""
        value = await _asset(python_val, python_type)
        if not value.cid:
            raise TypeTransformerFailedError(
                f"{type(value).__name__} has no CID: store it before handing it on"
            )
        record = {"asset_key": value.asset_key, "cid": value.cid, "keyvalues": value.keyvalues}
        text = literals_pb2.Primitive(string_value=json.dumps(record))
        return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=text))

    async def to_python_value(self, lv: literals_pb2.Literal, expected_python_type: type[Asset]) -> Asset:
        """The asset of a literal, without a path."""
        return await _asset(lv.scalar.primitive.string_value, expected_python_type)

    def guess_python_type(self, literal_type: types_pb2.LiteralType) -> type[Asset]:
        """Asset, for the literal types that this transformer makes."""
        if literal_type.HasField("structure") and literal_type.structure.tag == TAG:
            return Asset
        raise ValueError("not an asset")


def register() -> None:
    """Make Flyte know assets; called by its entry point `flyte.plugins.types`."""
    TypeEngine.register(AssetTransformer())


async def _asset(value: Any, wanted: type[Asset]) -> Asset:
    """An asset, or that of its record or CID; a bare Asset if it may be one and its type is not known here.

    Args:
        value: a record can be a dict or JSON text; the record of a CID is looked up.

    Raises:
        TypeTransformerFailedError: it is none, or another one than is wanted, or the CID is not registered as one.
    """
    try:
        if isinstance(value, str) and is_cid(value):
            value = await wanted.one(cid=value)
        elif isinstance(value, dict | str):
            record = json.loads(value) if isinstance(value, str) else value
            pairs = {"asset": record["asset_key"], **record.get("keyvalues", {})}
            entry = IpFile(cid=record["cid"], keyvalues=pairs)
            if wanted is Asset:
                return Asset.from_record(entry)
            value = asset_class(pairs["asset"]).from_keyvalues(pairs, cid=entry.cid, record=entry)
    except (StargazerError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TypeTransformerFailedError(f"expected {FORM}: {error!s}") from error
    if not isinstance(value, wanted):
        raise TypeTransformerFailedError(f"expected {wanted.__name__}, got {type(value).__name__}")
    return value
