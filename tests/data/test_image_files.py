"""Image files a person gives: which are found, and what is read from them."""

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from set_aggregation.data.image_files import find_images, guess_white, read_image, read_images, to_array, upright_size

RED, GREEN = (250, 10, 20), (5, 240, 30)


@pytest.fixture
def two_colours():
    """40 wide and 20 high: red on the left, green on the right."""
    picture = np.empty((20, 40, 3), np.uint8)
    picture[:, :20], picture[:, 20:] = RED, GREEN
    return Image.fromarray(picture)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def grey(value, path):
    return save(Image.new("L", (4, 4), value), path)


# Finding


def test_folders_are_searched_at_any_depth(tmp_path):
    files = {grey(0, tmp_path / name) for name in ("a.png", "one/b.png", "one/two/three/c.png")}
    assert set(find_images([tmp_path])) == files


def test_a_folder_is_sorted(tmp_path):
    for name in ("c.png", "a.png", "b.png", "d/x.png", "B.png"):
        grey(0, tmp_path / name)
    found = find_images([tmp_path])
    assert found == sorted(found)
    assert len(found) == 5


def test_other_files_of_a_folder_are_passed_over(tmp_path):
    image = grey(0, tmp_path / "a.png")
    for name in ("notes.txt", "labels.csv", "archive.zip", "no_suffix", ".hidden"):
        (tmp_path / name).write_text("not an image")
    assert find_images([tmp_path]) == [image]


def test_formats_that_pillow_cannot_decode_are_skipped(tmp_path):
    image = grey(0, tmp_path / "a.png")
    for name in ("film.mpg", "b.emf", "._a.png", "__MACOSX/a.png", ".hidden/a.png", "$RECYCLE.BIN/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\0\1\xb3")
    assert find_images([tmp_path]) == [image]


def test_links_are_followed_and_loops_end(tmp_path):
    grey(0, tmp_path / "elsewhere" / "a.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "root")
    assert find_images([tmp_path / "root"]) == [tmp_path / "root" / "link" / "a.png"]


def test_files_that_pillow_only_writes_are_passed_over(tmp_path):
    image = grey(0, tmp_path / "a.png")
    grey(0, tmp_path / "paper.pdf")
    assert find_images([tmp_path]) == [image]


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.jpg", "a.JPEG", "a.bmp", "a.tif", "a.webp", "a.gif"])
def test_suffixes_of_images(tmp_path, name):
    image = grey(0, tmp_path / name)
    assert find_images([tmp_path]) == [image]


def test_a_named_file_is_taken_whatever_its_suffix(tmp_path):
    image = save(Image.new("L", (4, 4)), tmp_path / "download", format="PNG")
    assert find_images([image]) == [image]


def test_missing_path_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.png.*not exist"):
        find_images([grey(0, tmp_path / "a.png"), tmp_path / "nothing.png"])


def test_empty_folder_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no image file in .*empty"):
        find_images([tmp_path / "empty"])


def test_no_path_at_all():
    with pytest.raises(ValueError, match="empty list"):
        find_images([])


# Reading


def test_a_picture_of_the_right_size_is_kept_to_the_pixel(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    images = read_images([save(Image.fromarray(picture), tmp_path / "a.png")], 3, (20, 40))
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), picture)


@pytest.mark.parametrize("size", [(20, 40), (30, 12), (64, 128)])
def test_left_stays_left_at_every_size(tmp_path, two_colours, size):
    (image,) = read_images([save(two_colours, tmp_path / "a.png")], 3, size)
    assert image.shape == (3, *size)
    assert image[:, :, 0].float().mean(1).tolist() == pytest.approx(RED, abs=3)
    assert image[:, :, -1].float().mean(1).tolist() == pytest.approx(GREEN, abs=3)


def test_files_keep_their_order(tmp_path):
    files = [grey(value, tmp_path / f"{value}.png") for value in (30, 10, 20)]
    assert read_images(files, 1, (2, 2))[:, 0, 0, 0].tolist() == [30, 10, 20]


def colours(image):
    """The means of the left and the right half."""
    half = image.shape[2] // 2
    return image[:, :, : half - 2].float().mean((1, 2)).tolist(), image[:, :, half + 2 :].float().mean((1, 2)).tolist()


@pytest.mark.parametrize(
    ("mode", "name"),
    [("RGB", "a.png"), ("RGB", "a.jpg"), ("P", "a.png"), ("P", "a.gif"), ("RGBA", "a.png"), ("CMYK", "a.tif")],
)
def test_formats_in_colour(tmp_path, two_colours, mode, name):
    (image,) = read_images([save(two_colours.convert(mode), tmp_path / name)], 3, (20, 40))
    left, right = colours(image)
    assert left == pytest.approx(RED, abs=8)
    assert right == pytest.approx(GREEN, abs=8)


def test_palette_with_transparency(tmp_path, two_colours):
    file = save(two_colours.quantize(2), tmp_path / "a.png", transparency=bytes([255, 128]))
    (image,) = read_images([file], 3, (20, 40))
    assert colours(image)[0] == pytest.approx(RED, abs=8)


def test_colour_becomes_luma(tmp_path):
    (image,) = read_images([save(Image.new("RGB", (4, 4), RED), tmp_path / "a.png")], 1, (4, 4))
    assert image.float().mean() == pytest.approx(0.299 * RED[0] + 0.587 * RED[1] + 0.114 * RED[2], abs=1)


@pytest.mark.parametrize("in_channels", [1, 3])
def test_one_bit_is_black_and_white(tmp_path, in_channels):
    bits = Image.fromarray(np.arange(16).reshape(4, 4) % 2 == 1)
    assert bits.mode == "1"
    (image,) = read_images([save(bits, tmp_path / "a.png")], in_channels, (4, 4))
    assert (image == torch.tensor([0, 255, 0, 255], dtype=torch.uint8)).all()


@pytest.mark.parametrize("in_channels", [1, 3])
def test_sixteen_bits_are_scaled_not_cut(tmp_path, in_channels):
    levels = np.array([[0, 0x1000, 0x8000, 0xFFFF]], np.uint16).repeat(4, axis=0)
    (image,) = read_images([save(Image.fromarray(levels), tmp_path / "a.png")], in_channels, (4, 4))
    assert image[:, 0].tolist() == [pytest.approx([0, 16, 128, 255], abs=1)] * in_channels


def test_sixteen_bits_of_a_pgm_are_scaled_too(tmp_path):
    """Pillow opens it in another mode."""
    levels = np.array([[0, 0x1000, 0x8000, 0xFFFF]], ">u2").repeat(4, axis=0)
    (tmp_path / "a.pgm").write_bytes(b"P5 4 4 65535\n" + levels.tobytes())
    (image,) = read_images([tmp_path / "a.pgm"], 1, (4, 4))
    assert image[0, 0].tolist() == pytest.approx([0, 16, 128, 255], abs=1)


LEVELS = np.array([[0, 1, 2, 4]])  # quarters of white


def levels(white, dtype, path, factor=1.0, **options):
    return save(Image.fromarray((LEVELS * white / 4 * factor).astype(dtype)), path, **options)


@pytest.mark.parametrize(
    ("name", "dtype", "white", "options"),
    [
        ("a.png", np.uint16, 65535, {}),
        ("a.tif", np.float32, 1, {}),
        ("a.tif", np.float32, 2, {"tiffinfo": {341: 2.0}}),
        ("a.tif", np.uint16, 1023, {"tiffinfo": {281: 1023}}),
    ],
)
def test_white_is_what_the_file_states_or_the_largest_value_of_its_type(tmp_path, name, dtype, white, options):
    image = read_image(levels(white, dtype, tmp_path / name, **options), 1)
    assert image[0, :, 0].tolist() == pytest.approx([0, 64, 128, 255], abs=1)


def test_a_tiff_of_twelve_bits_states_its_range(tmp_path):
    file = levels(4095, np.uint16, tmp_path / "a.tif")
    sixteen, twelve = (np.array([258, 3, 1, 0, bits, 0], "<u2").tobytes() for bits in (16, 12))
    with Image.open(file) as image:
        (start,) = image.tag_v2[273]
    packed = int("".join(f"{value:012b}" for value in (LEVELS * 4095 // 4)[0]), 2).to_bytes(6, "big")
    content = file.read_bytes().replace(sixteen, twelve)
    file.write_bytes(content[:start] + packed + content[start + len(packed) :])
    assert read_image(file, 1)[0, :, 0].tolist() == pytest.approx([0, 64, 128, 255], abs=1)


@pytest.mark.parametrize(("white", "dtype"), [(1023, np.uint16), (255, np.float32)])
def test_a_given_white_is_taken_and_a_missing_one_warned_of(tmp_path, white, dtype):
    file = levels(white, dtype, tmp_path / "a.tif")
    assert read_image(file, 1, white=white)[0, :, 0].tolist() == pytest.approx([0, 64, 128, 255], abs=1)
    with pytest.warns(UserWarning, match="is taken for white and its values do not fit"):
        read_image(file, 1)


@pytest.mark.parametrize(
    ("white", "dtype", "factor"),
    [
        *((white, np.uint16, 1) for white in (255, 1023, 4095, 65535)),
        *((white, np.float32, factor) for white in (1, 255, 65535) for factor in (1, 1.02)),
    ],
)
def test_one_white_is_guessed_for_all_images(tmp_path, white, dtype, factor):
    files = [levels(white, dtype, tmp_path / f"{dim}.tif", dim * factor) for dim in (0, 0.01, 1)]
    assert guess_white(files) == white


def test_nothing_is_guessed_for_bytes_black_images_and_stated_ranges(tmp_path):
    files = [grey(9, tmp_path / "a.png"), levels(0, np.uint16, tmp_path / "b.tif")]
    assert guess_white([*files, levels(99, np.uint16, tmp_path / "c.tif", tiffinfo={281: 99})]) is None


@pytest.mark.parametrize("mode", ["1", "L", "I", "F", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA"])
def test_images_of_all_modes_are_converted(mode):
    for in_channels in (1, 3):
        assert to_array(Image.new(mode, (4, 4)), in_channels).shape == (4, 4, in_channels)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    good, bad = grey(0, tmp_path / "good.png"), tmp_path / "bad.png"
    bad.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.png"):
        read_images([good, bad], 1, (4, 4))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_truncated_file_is_named(tmp_path, suffix):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    file = save(noise, tmp_path / f"cut.{suffix}")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"cut\.{suffix}"):
        read_images([file], 3, (4, 4))


def test_a_damaged_header_is_named(tmp_path):
    file = tmp_path / "damaged.ppm"
    file.write_bytes(b"P6 2\xff5 20 255\n" + bytes(1500))
    with pytest.raises(ValueError, match=r"damaged\.ppm"):
        read_images([file], 3, (4, 4))


# One picture at its own size


# Upright


def turned(picture, orientation):
    """The pixels of a file that, shown as its orientation says, are the picture; after the table of the standard."""
    picture = picture.transpose(Image.Transpose.TRANSPOSE) if orientation >= 5 else picture
    if orientation in (2, 3, 7, 8):  # in the file, left is right
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if orientation in (3, 4, 6, 7):
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return picture


def save_turned(picture, path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return save(picture, path, exif=exif)


TURNED = [*(("jpg", orientation) for orientation in range(1, 9)), ("png", 6), ("webp", 6), ("tif", 6)]


@pytest.mark.parametrize(("suffix", "orientation"), TURNED)
def test_pictures_are_read_upright(tmp_path, suffix, orientation):
    """A quarter of each colour, no two quarters alike."""
    quarters = np.array([[RED, GREEN], [(0, 0, 250), (250, 250, 250)]], np.uint8)
    picture = quarters.repeat(16, axis=0).repeat(32, axis=1)  # 32 high and 64 wide
    file = save_turned(turned(Image.fromarray(picture), orientation), tmp_path / f"a.{suffix}", orientation)
    image = read_image(file, 3)
    assert image.shape == (32, 64, 3)
    for i, j in np.ndindex(2, 2):
        assert image[8 + 16 * i, 16 + 32 * j].tolist() == pytest.approx(quarters[i, j].tolist(), abs=12)


@pytest.mark.parametrize(("suffix", "orientation"), [*TURNED, ("jpg", 0), ("jpg", 9)])  # the last two mean nothing
def test_upright_size_is_that_of_the_picture_read(tmp_path, two_colours, suffix, orientation):
    file = save_turned(two_colours, tmp_path / f"a.{suffix}", orientation)
    assert upright_size(file) == read_image(file, 3).shape[:2]


def test_upright_size_decodes_nothing(tmp_path, two_colours):
    """A file that is cut off in its middle has one."""
    file = save(two_colours.resize((400, 200)), tmp_path / "a.jpg")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert upright_size(file) == (200, 400)


@pytest.mark.parametrize("content", [None, b"", b"not an image"])
def test_upright_size_names_what_it_cannot_read(tmp_path, content):
    if content is not None:
        (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"got .*bad\.png, which is not an image that can be read"):
        upright_size(tmp_path / "bad.png")


# JPEG files are decoded at a part of their size


def gradient(w, h):
    """Smooth in the large, with a pattern of 16 pixels."""
    y, x = np.mgrid[:h, :w]
    waves = 40 * np.sin(x * np.pi / 16) * np.sin(y * np.pi / 16)
    channels = [x * 255 / w, y * 255 / h, 128 + waves]
    return Image.fromarray(np.stack(channels, 2).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(("size", "orientation"), [((75, 100), 6), ((299, 400), 1)])
def test_large_jpeg_is_as_if_decoded_whole(tmp_path, size, orientation):
    file = save_turned(gradient(1600, 1200), tmp_path / "a.jpg", orientation)
    with Image.open(file) as image:
        image.load()
        whole = image.transpose(Image.Transpose.ROTATE_270) if orientation == 6 else image
        expected = np.asarray(whole.resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(read_image(file, 3, size) - expected).max() <= 3
