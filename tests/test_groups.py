"""Groups: what the source tells, what is forgotten, and what is found in the pictures."""

import csv
import json
from collections import defaultdict
from itertools import pairwise

import pytest
from planted import film, photograph, write_films

from tlfeat.audit.groups import find_groups
from tlfeat.audit.pictures import Pictures
from tlfeat.data.dataset import open_dataset
from tlfeat.data.groups import AUTO_GROUPS, GROUPS, GroupRow, read_groups, write_groups
from tlfeat.errors import DataError
from tlfeat.report.commands import commands
from tlfeat.report.merge import write_report as report
from tlfeat.runs.find import find_runs
from tlfeat.studies.compare import compare
from tlfeat.studies.plan import read_study
from tlfeat.studies.run import open_data


@pytest.fixture
def films(tmp_path):
    """Give a folder of films in classes, and the film of each picture."""
    return tmp_path / "films", write_films(tmp_path / "films", classes=3)


@pytest.fixture
def found(cache, tmp_path):
    def find(data):
        return find_groups(data, cache=cache, reports=tmp_path / "reports")

    return find


@pytest.fixture
def never_again(monkeypatch):
    """Fail where groups are looked for."""

    def refuse(*_args):
        pytest.fail("groups were looked for though the study knows them")

    return lambda: monkeypatch.setattr(Pictures, "read", refuse)


def members(dataset):
    """Give the pictures of each group."""
    groups = defaultdict(set)
    for sample in dataset.samples:
        groups[sample.group].add(sample.id)
    return groups


def table(tmp_path, rows):
    """Write a table of photographs of their own: label, track, other."""
    lines = ["path,label,track,other"]
    for number, row in enumerate(rows):
        photograph(number).save(tmp_path / f"{number}.png")
        lines.append(",".join([f"{number}.png", *row]))
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "table.csv"


def test_frames_of_a_film_are_found_and_stay_on_one_side(films, found):
    folder, film_of = films
    dataset = found(folder)
    assert dataset.asked == {"groups": AUTO_GROUPS}
    splits = defaultdict(set)
    for sample in dataset.samples:
        if sample.group is not None:
            splits[sample.group].add(sample.split)
    assert all(len(there) == 1 for there in splits.values())
    assert {split for there in splits.values() for split in there} == {"train", "test"}
    of_one_film = sum(
        len({film_of[one] for one in some}) == 1 for some in members(dataset).values()
    )
    assert of_one_film >= 0.9 * len(members(dataset))
    together = sum(
        one.group == other.group is not None
        for one, other in pairwise(sorted(dataset.samples, key=lambda s: (film_of[s.id], s.id)))
        if film_of[one.id] == film_of[other.id]
    )
    assert together >= 0.6 * len(film_of)


def test_they_are_found_once_and_kept_with_the_study(films, found, never_again, tmp_path):
    first = found(films[0])
    with (tmp_path / "reports" / "films" / GROUPS).open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert {sample.id: sample.group or "" for sample in first.samples} == {
        name: row["group"] for name, row in rows.items()
    }
    never_again()
    assert found(films[0]).fingerprint == first.fingerprint


def test_added_pictures_join_their_group_which_keeps_its_name(films, found):
    folder, film_of = films
    before = {sample.id: sample.group for sample in found(folder).samples}
    assert before != dict.fromkeys(before)
    for number, picture in enumerate(film(0, 9, 0)):
        picture.save(folder / "A" / f"more{number}.png")
    after = {sample.id: sample.group for sample in found(folder).samples}
    assert len(after) == len(before) + 9
    named = {group for group in before.values() if group is not None}
    assert named <= set(after.values())
    same = [name for name, group in before.items() if group is not None and after[name] == group]
    assert len(same) >= 0.9 * sum(group is not None for group in before.values())
    assert {after[f"A/more{number}.png"] for number in range(9)} & {
        after[name] for name, seed in film_of.items() if seed == 0
    } - {None}


def film_table(tmp_path, film_of, tracks):
    """Write a table of films that tells a group of each picture by its place in its film."""
    lines, seen = ["path,label,track"], defaultdict(int)
    for name, film_number in sorted(film_of.items()):
        seen[film_number] += 1
        lines.append(f"films/{name},{name[0]},{tracks(film_number, seen[film_number])}")
    (tmp_path / "told.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "told.csv"


@pytest.mark.parametrize("how", [{"groups": "track"}, {"columns": {"group": "track"}}])
def test_what_the_source_tells_stays_together_and_is_joined_by_what_is_found(
    films, found, tmp_path, how
):
    _, film_of = films
    path = film_table(tmp_path, film_of, lambda film, n: f"{film}-{n % 2}")
    told = open_dataset(path, **how)
    grouped = found(told)
    group_of = {sample.id: sample.group for sample in grouped.samples}
    tracks = members(told)
    assert len(tracks) == 18
    assert all(len({group_of[one] for one in track}) == 1 for track in tracks.values())
    assert None not in group_of.values()
    assert len(set(group_of.values())) < 18  # the two tracks of a film are one scene
    named = {name for name in group_of.values() if not name.startswith("scene-")}
    assert named <= set(tracks)


def test_what_was_to_be_forgotten_stays_forgotten(films, found, tmp_path):
    path = film_table(tmp_path, films[1], lambda film, n: "one")
    told = open_dataset(path, columns={"group": "track"}, groups="none")
    groups = {sample.group for sample in found(told).samples}
    assert "one" not in groups
    assert len(groups) > 2


def test_tracks_that_are_told_later_are_joined_without_a_search(
    films, found, tmp_path, never_again
):
    path = film_table(tmp_path, films[1], lambda film, n: "all")
    assert len(members(found(open_dataset(path)))) > 2
    never_again()
    assert len(members(found(open_dataset(path, groups="track")))) == 1


def test_a_part_of_a_set_neither_takes_nor_gives_names(films, found, tmp_path):
    part = found(open_dataset(films[0], limit=30)).fingerprint
    whole = found(films[0]).fingerprint
    assert found(open_dataset(films[0], limit=30)).fingerprint == part
    for file in (tmp_path / "reports" / "films").glob("groups*.csv"):
        file.unlink()
    assert found(films[0]).fingerprint == whole


def test_a_study_elsewhere_has_the_groups_too(films, found, cache, tmp_path):
    dataset = found(films[0])
    options = {"cache": cache, "reports": tmp_path / "elsewhere", "name": "other"}
    folder = compare(dataset, heads=["lda"], features=["last:avg"], size=64, **options).folder
    assert read_groups(folder / GROUPS) == {s.digest: s.group or "" for s in dataset.samples}
    (folder / "index.html").unlink()
    assert "data:image/webp" in report([folder], cache=cache).read_text()


def test_a_study_with_groups_runs_again_to_the_same_runs(run, films, never_again, tmp_path, cache):
    asked = [
        "--groups",
        "auto",
        "--head",
        "lda",
        "--features",
        "last:avg",
        "--size",
        "64",
        "--quiet",
    ]
    run("compare", films[0], *asked)
    folder = tmp_path / "reports" / "films"
    (first,) = find_runs(folder)
    never_again()
    run("compare", films[0], *asked)
    run("compare", folder / "study.toml", "--quiet")
    (again,) = find_runs(folder)
    assert again.id == first.id
    assert "--groups auto" in commands([again], "films")[0]
    assert 'groups = "auto"' in (folder / "study.toml").read_text()
    (folder / "index.html").unlink()
    page = report([folder], cache=cache)
    assert page.read_text().count("data:image/webp") > 0
    assert "groups: found by what is in the pictures (groups.csv)" in page.read_text()


def test_compare_says_what_groups_would_take_away_and_nothing_once_they_are_there(run, films):
    fast = ["--head", "lda", "--features", "last:avg", "--size", "64"]
    assert "--groups auto keeps scenes together." in run("compare", films[0], *fast)
    assert "--groups auto keeps" not in run("compare", films[0], *fast, "--groups", "auto")


def test_data_shows_the_split_of_found_groups(run, films):
    alone = json.loads(run("data", films[0], "--json"))
    grouped = json.loads(run("data", films[0], "--groups", "auto", "--json"))
    assert grouped["fingerprint"] != alone["fingerprint"]


def test_none_forgets_what_the_source_tells(tmp_path):
    path = table(tmp_path, [("a", "one", "x"), ("b", "one", "y")])
    columns = {"group": "track"}
    assert {s.group for s in open_dataset(path, columns=columns).samples} == {"one"}
    assert {s.group for s in open_dataset(path, columns=columns, groups="none").samples} == {None}


def test_a_column_tells_them(tmp_path):
    path = table(tmp_path, [("a", "one", "x"), ("b", "one", "y")])
    assert {s.group for s in open_dataset(path, groups="other").samples} == {"x", "y"}
    with pytest.raises(DataError, match="by 'other', and by 'track'"):
        open_dataset(path, groups="other", columns={"group": "track"})


def test_a_file_is_believed_and_must_know_all_pictures(tmp_path):
    path = table(tmp_path, [("a", "one", ""), ("b", "two", ""), ("a", "three", "")])
    digests = [sample.digest for sample in open_dataset(path).samples]
    file = tmp_path / "mine.csv"
    write_groups(file, [GroupRow(d, g, "") for d, g in zip(digests, ("x", "x", ""), strict=True)])
    dataset = open_dataset(path, columns={"group": "track"}, groups=file)
    assert [sample.group for sample in dataset.samples] == ["x", "x", None]
    assert dataset.asked["groups"] == str(file)
    file.write_text("\ufeff" + file.read_text())  # as spreadsheets save it
    assert (
        open_dataset(path, groups=file).fingerprint == open_dataset(path, groups=file).fingerprint
    )
    write_groups(file, [GroupRow(digests[0], "x", "")])
    with pytest.raises(DataError, match="knows 1 of 3 pictures: it is of another dataset, or"):
        open_dataset(path, groups=file)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ("auto", r"tlfeat\.find_groups"),
        ("gone.csv", "cannot be read"),
        ("table.csv", "is no file of groups: wanted columns digest, group, id"),
        (3, "groups must be none, a column or a file"),
        ("species", "species"),
        ("Auto", "groups is 'Auto': write auto"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(tmp_path, monkeypatch, groups, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=words):
        open_dataset(table(tmp_path, [("a", "", ""), ("b", "", "")]), groups=groups)


def test_a_folder_has_no_column_of_groups(films):
    with pytest.raises(DataError, match=r"Groups are auto, none, a column .* got 'track'"):
        open_dataset(films[0], groups="track")


def test_a_study_says_which_groups_cannot_be_had(films, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nname = "mine"\n[data]\npath = "films"\ngroups = "gone.csv"\n'
        '[[run]]\nname = "a"\nhead = "lda"\n'
    )
    with pytest.raises(DataError, match=r"mine.toml: \[data\] groups = 'gone.csv': The groups"):
        open_data(read_study(tmp_path / "mine.toml"))


def test_a_torn_file_of_groups_is_named_and_not_overwritten(films, found, tmp_path):
    found(films[0])
    file = tmp_path / "reports" / "films" / GROUPS
    file.write_text(file.read_text()[:-70])
    torn = file.read_text()
    with pytest.raises(DataError, match="is no file of groups"):
        found(films[0])
    assert file.read_text() == torn


def test_a_picture_that_the_file_lost_joins_the_group_under_its_name(films, found, tmp_path):
    dataset = found(films[0])
    file = tmp_path / "reports" / "films" / GROUPS
    known = read_groups(file)
    one = next(sample.digest for sample in dataset.samples if known[sample.digest])
    rows = [GroupRow(d, "a-name" if g == known[one] else g, "") for d, g in known.items()]
    write_groups(file, [row for row in rows if row.digest != one])
    again = {sample.digest: sample.group for sample in found(films[0]).samples}
    assert again[one] == "a-name"
