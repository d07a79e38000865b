"""HDF5: a file that is shorter than its superblock says is refused, wherever the superblock is and of what version."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stargazer.assets import FormatError
from stargazer.assets.formats.signatures import HDF5_SIGNATURE, check_hdf5


def superblock(version: int, end: int, *, width: int = 8, base: int = 0) -> bytes:
    """With addresses of `width` bytes; behind it nothing that is looked at."""
    addresses = [base, 2 ** (8 * width) - 1, end, 48]
    if version < 2:
        head = bytes([version, 0, 0, 0, 0, width, 8, 0]) + struct.pack("<HHI", 4, 16, 0)
        head += bytes(4) if version else b""
    else:
        head = bytes([version, width, 8, 0])
    return HDF5_SIGNATURE + head + b"".join(address.to_bytes(width, "little") for address in addresses)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
@pytest.mark.parametrize("width", [4, 8, 16, 32])
@pytest.mark.parametrize("user_block", [0, 512, 1024, 4096])
def test_the_end_is_found_in_every_superblock(
    tmp_path: Path, version: int, width: int, user_block: int
) -> None:
    end = user_block + 3_000
    data = (bytes(user_block) + superblock(version, end, width=width, base=user_block)).ljust(end, b"\0")
    path = tmp_path / "x.h5ad"
    for right in (data, data + b"more"):
        path.write_bytes(right)
        check_hdf5(path)
    path.write_bytes(data[:-1])
    with pytest.raises(FormatError, match=f"'x.h5ad' is truncated: it has {end - 1:,} of {end:,} bytes"):
        check_hdf5(path)


def test_a_user_block_that_was_put_before_moves_the_end(tmp_path: Path) -> None:
    data = bytes(512) + superblock(0, 3_000).ljust(3_000, b"\0")
    (tmp_path / "x").write_bytes(data)
    check_hdf5(tmp_path / "x")
    (tmp_path / "x").write_bytes(data[:3_100])
    with pytest.raises(FormatError, match="it has 3,100 of 3,512 bytes"):
        check_hdf5(tmp_path / "x")


@pytest.mark.parametrize("length", [8, 9, 13, 20, 40, 47])
def test_a_file_that_ends_within_the_superblock_is_truncated(tmp_path: Path, length: int) -> None:
    (tmp_path / "x").write_bytes(superblock(0, 3_000)[:length])
    with pytest.raises(FormatError, match="'x' is truncated: it ends within its superblock"):
        check_hdf5(tmp_path / "x")


def test_a_compressed_file_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(gzip.compress(superblock(0, 3_000)))
    with pytest.raises(FormatError, match=r"'x' is compressed, .*decompress it"):
        check_hdf5(tmp_path / "x")


@pytest.mark.parametrize("width", [0, 3, 7, 64, 255])
def test_impossible_addresses_are_damage(tmp_path: Path, width: int) -> None:
    (tmp_path / "x").write_bytes(HDF5_SIGNATURE + bytes([2, width]) + bytes(300))
    with pytest.raises(FormatError, match=f"addresses of {width} bytes"):
        check_hdf5(tmp_path / "x")


@pytest.fixture(scope="module", params=["earliest", "latest"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What h5py writes, with a superblock of version 0 or 3."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path_factory.mktemp("h5") / "real.h5ad"
    with h5py.File(path, "w", libver=request.param, userblock_size=512) as file:
        file.create_group("layers")["counts"] = [[1, 2, 3]] * 50
        file.create_group("obs")["name"] = [b"x"] * 50
    return path.read_bytes()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True))
def test_no_cut_of_a_real_file_is_taken(tmp_path: Path, real: bytes, part: float) -> None:
    (tmp_path / "whole.h5ad").write_bytes(real)
    check_hdf5(tmp_path / "whole.h5ad")
    (tmp_path / "cut.h5ad").write_bytes(real[: int(part * len(real))])
    with pytest.raises(FormatError, match=r"'cut.h5ad' is (truncated|empty|not HDF5)"):
        check_hdf5(tmp_path / "cut.h5ad")
