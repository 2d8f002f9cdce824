"""The sizes of a person's pictures, and the file that remembers them."""

import json
import os
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from set_aggregation.data import picture_sizes as module
from set_aggregation.data.image_files import find_images
from set_aggregation.data.picture_sizes import Pictures, picture_sizes


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The user's cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path):
    """Five pictures, at two depths."""
    for number in range(5):
        save(tmp_path / "pictures" / ("ab"[number % 2]) / f"{number}.png", (10 + number, 20))
    return tmp_path / "pictures"


SIZES = {"a/0.png": (20, 10), "b/1.png": (20, 11), "a/2.png": (20, 12), "b/3.png": (20, 13), "a/4.png": (20, 14)}


def save(file, width_and_height, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", width_and_height, (9, 99, 199)).save(file, **options)
    return file


def look(folder):
    return picture_sizes(folder, find_images([folder]))


def sizes(folder):
    return {file.relative_to(folder).as_posix(): size for file, size in look(folder).sizes.items()}


def cache_files(cache):
    return [path for path in cache.rglob("*") if path.is_file()]


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that are decoded, in any order."""
    names = []
    read_image = module.read_image
    monkeypatch.setattr(
        module, "read_image", lambda file, **options: names.append(file.name) or read_image(file, **options)
    )
    return names


# Sizes


def test_height_comes_first(folder):
    assert look(folder) == Pictures({folder / name: size for name, size in SIZES.items()}, {})


def test_files_keep_their_order(folder):
    files = find_images([folder])[::-1]
    assert list(picture_sizes(folder, files).sizes) == files
    assert list(picture_sizes(folder, files[::-1]).sizes) == files[::-1]  # out of the cache too


def test_only_the_given_files_count(folder):
    look(folder)
    assert list(picture_sizes(folder, [folder / "a/2.png"]).sizes) == [folder / "a/2.png"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    save(tmp_path / "pictures" / "a.jpg", (40, 20), exif=exif)
    assert sizes(tmp_path / "pictures") == {"a.jpg": (20, 40) if orientation < 5 else (40, 20)}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGBA", "P", "I;16"])
def test_sizes_in_every_mode(tmp_path, mode):
    (tmp_path / "pictures").mkdir()
    Image.new(mode, (7, 5)).save(tmp_path / "pictures" / "a.png")
    assert sizes(tmp_path / "pictures") == {"a.png": (5, 7)}


# Remembering


def test_a_second_look_opens_nothing(folder, opened):
    first = look(folder)
    assert sorted(opened) == [f"{number}.png" for number in range(5)]
    opened.clear()
    assert look(folder) == first
    assert opened == []


def test_the_second_look_is_out_of_the_cache(folder, cache, opened):
    look(folder)
    for file in cache_files(cache):
        file.unlink()
    opened.clear()
    look(folder)
    assert len(opened) == 5


def test_a_second_look_writes_nothing(folder, cache, monkeypatch):
    look(folder)
    monkeypatch.setattr(module, "_save", lambda *_: pytest.fail("the cache was written"))
    assert sizes(folder) == SIZES


def test_a_new_file_alone_is_looked_at(folder, opened):
    look(folder)
    opened.clear()
    save(folder / "c" / "new.png", (3, 4))
    assert sizes(folder) == {**SIZES, "c/new.png": (4, 3)}
    assert opened == ["new.png"]
    opened.clear()
    assert sizes(folder) == {**SIZES, "c/new.png": (4, 3)}
    assert opened == []


def test_a_changed_file_alone_is_looked_at_again(folder, opened):
    look(folder)
    opened.clear()
    save(folder / "a" / "0.png", (300, 500))
    assert sizes(folder) == {**SIZES, "a/0.png": (500, 300)}
    assert opened == ["0.png"]


def change(file, width_and_height, keep_length=False, keep_time=False):
    """Puts another picture in place of a BMP file, whose length says nothing of its shape."""
    before = file.stat()
    save(file, width_and_height)
    assert (file.stat().st_size == before.st_size) == keep_length
    times = (before.st_atime_ns, before.st_mtime_ns + (0 if keep_time else 10**9))
    os.utime(file, ns=times)


def test_a_change_that_keeps_the_length_is_seen(tmp_path):
    file = save(tmp_path / "pictures" / "a.bmp", (8, 4))
    assert sizes(file.parent) == {"a.bmp": (4, 8)}
    change(file, (4, 8), keep_length=True)
    assert sizes(file.parent) == {"a.bmp": (8, 4)}


def test_a_change_that_keeps_the_time_is_seen(tmp_path):
    file = save(tmp_path / "pictures" / "a.bmp", (8, 4))
    assert sizes(file.parent) == {"a.bmp": (4, 8)}
    change(file, (8, 5), keep_time=True)
    assert sizes(file.parent) == {"a.bmp": (5, 8)}


def test_an_older_file_put_in_place_is_seen(tmp_path):
    file = save(tmp_path / "pictures" / "a.bmp", (8, 4))
    look(file.parent)
    save(file, (4, 8))
    os.utime(file, (1, 1))
    assert sizes(file.parent) == {"a.bmp": (8, 4)}


def test_a_removed_file_is_forgotten(folder, cache):
    look(folder)
    (folder / "a" / "0.png").unlink()
    rest = {name: size for name, size in SIZES.items() if name != "a/0.png"}
    assert sizes(folder) == rest
    save(folder / "new.png", (1, 2))
    assert sizes(folder) == {**rest, "new.png": (2, 1)}
    (file,) = cache_files(cache)
    assert "a/0.png" not in file.read_text()
    assert "a/2.png" in file.read_text()


def test_two_folders_do_not_share_what_is_known(tmp_path, opened):
    """Not even of files of one name, length and time."""
    files = [save(tmp_path / name / "a.bmp", shape) for name, shape in (("one", (8, 4)), ("two", (4, 8)))]
    for file in files:
        os.utime(file, (5, 5))
    for _ in range(2):
        assert [sizes(file.parent) for file in files] == [{"a.bmp": (4, 8)}, {"a.bmp": (8, 4)}]
    assert len(opened) == 2


def test_one_folder_is_known_by_every_path_to_it(folder, monkeypatch, opened):
    look(folder)
    opened.clear()
    monkeypatch.chdir(folder.parent)
    assert sizes(Path("pictures")) == SIZES
    (folder.parent / "link").symlink_to(folder)
    assert sizes(folder.parent / "link") == SIZES
    assert opened == []


def test_nothing_lies_outside_the_cache_folder(folder, cache):
    before = {path for path in folder.parent.rglob("*") if cache not in path.parents}
    look(folder)
    assert {path for path in folder.parent.rglob("*") if cache not in path.parents} == before | {cache}
    assert len(cache_files(cache)) == 1


@pytest.mark.parametrize("name", [b"gr\xfc\xdfe", "grüße".encode(), b"two words"])
def test_names_in_any_encoding(tmp_path, opened, name):
    """Of the folder and of a file in it, as old archives have them."""
    folder = tmp_path / os.fsdecode(name)
    try:
        save(folder / os.fsdecode(name + b".png"), (7, 5))
    except OSError:
        pytest.skip("this file system has no such names")
    for _ in range(2):
        assert list(look(folder).sizes.values()) == [(5, 7)]
    assert len(opened) == 1


# Files that cannot be read


def spoil(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"no image")
    return file


def test_unreadable_files_are_named_with_the_reason(folder):
    bad = spoil(folder / "a" / "bad.png")
    cut = save(folder / "b" / "cut.png", (64, 64))
    cut.write_bytes(cut.read_bytes()[:-40])
    found = look(folder)
    assert set(found.unreadable) == {bad, cut}
    assert "cannot identify image file" in found.unreadable[bad]
    assert found.unreadable[cut]
    assert {file.relative_to(folder).as_posix(): size for file, size in found.sizes.items()} == SIZES


def test_unreadable_files_are_looked_at_again_each_time(folder, opened):
    bad = spoil(folder / "a" / "bad.png")
    first = look(folder)
    for _ in range(2):
        opened.clear()
        assert look(folder) == first
        assert opened == ["bad.png"]
    stamp = bad.stat().st_mtime
    save(bad, (6, 7))
    os.utime(bad, (stamp, stamp))
    assert sizes(folder) == {**SIZES, "a/bad.png": (7, 6)}


def test_a_file_that_has_broken_is_known_no_more(folder):
    look(folder)
    bad = spoil(folder / "a" / "0.png")
    for _ in range(2):
        found = look(folder)
        assert list(found.unreadable) == [bad]
        assert bad not in found.sizes


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(folder):
    (folder / "a" / "0.png").chmod(0)
    assert "Permission denied" in look(folder).unreadable[folder / "a" / "0.png"]


# A cache that is not as it should be


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b"7", b'"a"'])
def test_a_broken_cache_is_as_none(folder, cache, opened, content):
    look(folder)
    (file,) = cache_files(cache)
    file.write_bytes(content)
    opened.clear()
    assert sizes(folder) == SIZES
    assert len(opened) == 5
    opened.clear()
    assert sizes(folder) == SIZES  # written anew
    assert opened == []


@pytest.mark.parametrize("entry", [None, 7, {}, "text", [], [1], "stamps only"])
def test_a_cache_of_other_entries_is_as_none(folder, cache, entry):
    look(folder)
    (file,) = cache_files(cache)
    known = json.loads(file.read_text())
    file.write_text(json.dumps({name: old[:2] if entry == "stamps only" else entry for name, old in known.items()}))
    assert sizes(folder) == SIZES


def test_a_cache_folder_that_cannot_be_made_is_a_warning(folder, cache):
    cache.write_text("a file")
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"cannot be kept in .*cache.* \(Not a directory\)"):
            assert sizes(folder) == SIZES


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_folder_that_may_not_be_written_is_a_warning(folder, cache):
    cache.mkdir(mode=0o500)
    with pytest.warns(UserWarning, match=r"cannot be kept in .*cache.* \(Permission denied\)"):
        assert sizes(folder) == SIZES


def test_a_full_disk_leaves_what_was_known(folder, monkeypatch, opened):
    look(folder)
    save(folder / "new.png", (1, 2))

    def fail(file, text):
        file.write_bytes(text[:20].encode())
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Path, "write_text", fail)
        with pytest.warns(UserWarning, match="No space left on device"):
            assert sizes(folder) == {**SIZES, "new.png": (2, 1)}
    opened.clear()
    assert sizes(folder) == {**SIZES, "new.png": (2, 1)}
    assert opened == ["new.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_look_keeps_what_it_had_found(folder, monkeypatch, error):
    looked = []
    read_image = module.read_image

    def stop_at_the_fourth(file, **options):
        looked.append(file)
        if file.name == "1.png":  # the fourth: a/0, a/2, a/4, b/1, b/3
            raise error
        return read_image(file, **options)

    with monkeypatch.context() as stopped:
        stopped.setattr(module, "read_image", stop_at_the_fourth)
        with pytest.raises(error):
            look(folder)
    looked.clear()
    monkeypatch.setattr(
        module, "read_image", lambda file, **options: looked.append(file.name) or read_image(file, **options)
    )
    assert sizes(folder) == SIZES
    assert sorted(looked) == ["1.png", "3.png"]  # the results come in the order of the files
