"""Makes assets a type of Flyte: they travel as asset key, CID and metadata, never as a path."""

from __future__ import annotations

import json
from typing import Any

import msgpack  # type: ignore[import-untyped]
from flyte.types import TypeEngine, TypeTransformer, TypeTransformerFailedError
from flyteidl2.core import literals_pb2, types_pb2  # type: ignore[import-untyped]
from google.protobuf import struct_pb2  # type: ignore[import-untyped]
from stargazer.assets import Asset, IpFile, StargazerError, asset_class

__all__ = ["AssetTransformer", "register"]

TAG = "stargazer.Asset"


class AssetTransformer(TypeTransformer[Asset]):
    """Converts any asset class; unions, lists, dicts and named tuples of assets follow from it."""

    def __init__(self) -> None:
        # Flyte's own assertion is off: plain records (command line, JSON) are taken as well
        super().__init__(TAG, Asset, enable_type_assertions=False)

    def get_literal_type(self, t: type[Asset]) -> types_pb2.LiteralType:
        """A struct; it names the class but not its subclasses, which user code may add to at any time."""
        text = {"type": "string"}
        pairs = {"type": "object", "additionalProperties": text}
        schema = {"type": "object", "title": t.__name__, "required": ["asset_key", "cid"]}
        metadata = struct_pb2.Struct()
        metadata.update(schema | {"properties": {"asset_key": text, "cid": text, "keyvalues": pairs}})
        return types_pb2.LiteralType(
            simple=types_pb2.SimpleType.STRUCT, metadata=metadata, structure=types_pb2.TypeStructure(tag=TAG)
        )

    async def to_literal(
        self, python_val: Any, python_type: type[Asset], expected: Any
    ) -> literals_pb2.Literal:
        """The literal of a stored asset, or of its record as a dict or JSON text."""
        value = _asset(python_val, python_type)
        if not value.cid:
            raise TypeTransformerFailedError(
                f"{type(value).__name__} has no CID: store it before handing it on"
            )
        record = {"asset_key": value.asset_key, "cid": value.cid, "keyvalues": value.keyvalues}
        binary = literals_pb2.Binary(value=msgpack.packb(record), tag="msgpack")
        return literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary))

    async def to_python_value(self, lv: literals_pb2.Literal, expected_python_type: type[Asset]) -> Asset:
        """The asset of a literal, without a path."""
        return self.from_binary_idl(lv.scalar.binary, expected_python_type)

    def from_binary_idl(
        self, binary_idl_object: literals_pb2.Binary, expected_python_type: type[Asset]
    ) -> Asset:
        """The asset of a packed record."""
        return _asset(binary_idl_object.value, expected_python_type)

    def guess_python_type(self, literal_type: types_pb2.LiteralType) -> type[Asset]:
        """Asset, for the literal types that this transformer makes."""
        if literal_type.HasField("structure") and literal_type.structure.tag == TAG:
            return Asset
        raise ValueError("not an asset")


def register() -> None:
    """Make Flyte know assets; called by its entry point `flyte.plugins.types`."""
    TypeEngine.register(AssetTransformer())


def _asset(value: Any, wanted: type[Asset]) -> Asset:
    """An asset, or that of its record; a bare Asset if it may be one and its type is not known here.

    Args:
        value: a record can be a dict, JSON text, or packed.

    Raises:
        TypeTransformerFailedError: it is none, or another one than is wanted.
    """
    if isinstance(value, dict | str | bytes):
        try:
            record = json.loads(value) if isinstance(value, str) else value
            record = msgpack.unpackb(record) if isinstance(record, bytes) else record
            pairs = {"asset": record["asset_key"], **record.get("keyvalues", {})}
            entry = IpFile(cid=record["cid"], keyvalues=pairs)
            if wanted is Asset:
                return Asset.from_record(entry)
            value = asset_class(pairs["asset"]).from_keyvalues(pairs, cid=entry.cid, record=entry)
        except (StargazerError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TypeTransformerFailedError(
                f"not an asset: {error!s}; expected asset_key, cid and keyvalues"
            ) from error
    if not isinstance(value, wanted):
        raise TypeTransformerFailedError(f"expected {wanted.__name__}, got {type(value).__name__}")
    return value
