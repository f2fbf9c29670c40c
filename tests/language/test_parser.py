"""Laws of the parser: what may change in a sentence without changing its plan, and what it never does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visgen.errors import UnknownName
from visgen.language import TaskRequest, parse, read_instruction
from visgen.language.lexicon import EXAMPLES, FRAMES, NOUNS, SETS, VERBS, phrases
from visgen.language.names import plural
from visgen.language.parser import MAX_WORDS, normalise

FILE = json.loads((Path(__file__).parent / "sentences.json").read_text(encoding="utf-8"))
FULL = FILE["vocabularies"]["full"]
PLANNED = [
    (entry["text"], FILE["vocabularies"][entry.get("vocabulary", "full")])
    for entry in FILE["sentences"]
    if "plan" in entry
]
LEXICON = sorted(
    {word for text in SETS.values() for phrase in phrases(text) for word in phrase}
    | {word for _, _, frames in FRAMES for frame in frames for word in frame.replace("?", "").lower().split("|")}
    | {word for *_, text in VERBS for phrase in phrases(text) for word in phrase}
    | {word for _, text, _ in NOUNS for phrase in phrases(text) for word in phrase}
    | {"dog", "car", "cars", "traffic", "light", "lights", "cell-phone", ",", ".", "?", "it's", "dog's", "zebra"}
)


def plan(text: str, vocabulary: dict[str, list[str]] = FULL) -> list[dict[str, object]]:
    """The plan without the text that it came from."""
    return [{**request.to_dict(), "raw": ""} for request in parse(text, vocabulary)]


@given(st.text(max_size=60))
def test_random_characters_raise_nothing_but_unknown_name(text: str) -> None:
    try:
        assert all(isinstance(request, TaskRequest) for request in parse(text, FULL))
    except UnknownName as error:
        assert str(error).endswith(".")


@given(st.lists(st.sampled_from(LEXICON), max_size=14), st.sampled_from(sorted(FILE["vocabularies"])))
def test_random_words_of_the_lexicon_raise_nothing_but_unknown_name(words: list[str], name: str) -> None:
    vocabulary = FILE["vocabularies"][name]
    try:
        requests = parse(" ".join(words), vocabulary)
    except UnknownName as error:
        assert str(error).endswith(".")
    else:
        assert requests and {request.task for request in requests} <= set(vocabulary)
        assert not any(set(request.classes) & set(request.exclude) for request in requests)


@given(
    st.sampled_from(("segmentation", "detection")),
    st.sampled_from(("the", "all the", "every", "some", "", "both", "my", "all of the")),
    st.data(),
)
def test_singular_and_plural_mean_the_same(task: str, article: str, data: st.DataObject) -> None:
    verb = {"segmentation": "segment", "detection": "find"}[task]
    name = data.draw(st.sampled_from(FULL[task]))
    *first, last = name.split()
    for form in (last, *plural(last)):
        assert parse(f"{verb} {article} {' '.join([*first, form])}", FULL)[0].classes == (name,)


@given(st.lists(st.sampled_from(FULL["segmentation"]), min_size=1, max_size=8, unique=True), st.data())
def test_a_list_keeps_its_order_whatever_separates_it(names: list[str], data: st.DataObject) -> None:
    text = names[0]
    for name in names[1:]:
        text += data.draw(st.sampled_from((", ", " and ", "; ", ". ", " / ", " & ", ", and ", " or ", " as well as ")))
        text += data.draw(st.sampled_from(("", "the ", "all the "))) + name
    assert plan(f"segment {text}") == plan("segment " + " and ".join(names))
    assert parse(f"segment {text}", FULL)[0].classes == tuple(names)


SINGLE = ("segment the dog", "find the cars", "how far is the tree?", "is there a cat?", "is anything unusual?")


@given(st.permutations(SINGLE), st.sampled_from((" and ", ", then ", ". ", "; ", "? ", " and also ")))
def test_requests_come_in_the_order_asked(sentences: list[str], joint: str) -> None:
    together = joint.join(sentence.rstrip("?") for sentence in sentences)
    assert plan(together) == [request for sentence in sentences for request in plan(sentence)]


@given(
    st.sampled_from(PLANNED),
    st.sampled_from(("", "please ", "Could you please ", "Hi, can you ", "I would like you to ", "Hello there, ")),
    st.sampled_from(("", " please", ", please!", " for me, thanks", ". Thank you!", "\n", " ?!")),
)
def test_politeness_changes_nothing(sentence: tuple[str, dict[str, list[str]]], before: str, after: str) -> None:
    text, vocabulary = sentence
    assert plan(before + text.rstrip(" .!?") + after, vocabulary) == plan(text, vocabulary)


@given(st.sampled_from(PLANNED), st.sampled_from((str.upper, str.lower, str.title, lambda s: s.replace(" ", "  "))))
def test_case_and_spaces_change_nothing(sentence: tuple[str, dict[str, list[str]]], change: object) -> None:
    text, vocabulary = sentence
    assert plan(change(text), vocabulary) == plan(text, vocabulary)  # type: ignore[operator]


@given(st.data())
def test_one_wrong_letter_is_refused_and_the_class_suggested(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([n for n in FULL["detection"] if len(n) > 4 and " " not in n]))
    place = data.draw(st.integers(1, len(name) - 2))
    wrong = name[:place] + data.draw(st.sampled_from("qxz")) + name[place + 1 :]
    with pytest.raises(UnknownName, match=f"'{wrong}'.*did you mean '{name}'") as error:
        parse(f"find the {wrong}", FULL)
    assert "no class that the model knows" in str(error.value)


def test_everything_is_never_a_class() -> None:
    for word in ("everything", "anything", "all", "all objects", "every object", "the whole scene", "objects"):
        assert parse(f"segment {word}", FULL)[0].classes == ()


def test_a_class_wins_over_a_word_of_the_lexicon() -> None:
    odd = {"segmentation": ["picture", "object", "mask", "it", "depth"], "depth": []}
    assert parse("segment the picture and the object", odd)[0].classes == ("picture", "object")
    assert parse("mask the mask", odd)[0].classes == ("mask",)
    assert parse("segment the depth", odd)[0].classes == ("depth",)


@pytest.mark.parametrize("task", sorted(EXAMPLES))
def test_the_examples_in_error_messages_parse(task: str) -> None:
    (request,) = parse(EXAMPLES[task], {task: []})
    assert (request.task, request.classes) == (task, ())


def test_it_is_what_was_asked_for_before() -> None:
    first, second = plan("segment everything except the sky and tell me how far it is")
    assert (first["classes"], first["exclude"], second["exclude"]) == ([], ["sky"], ["sky"])
    assert [request["classes"] for request in plan("find the dog and the cat, then tell me how far they are")] == [
        ["dog", "cat"],
        ["dog", "cat"],
    ]
    assert plan("find one dog and segment it")[1]["quantifier"] == "one"
    assert [request["task"] for request in plan("classify this picture and segment it")] == [
        "classification",
        "segmentation",
    ]
    with pytest.raises(UnknownName, match="'it' in 'what is it' would be what was asked for before"):
        parse("what is on the table and what is it?", FULL)
    with pytest.raises(UnknownName, match="'it' has nothing to stand for"):
        parse("what is on the table and how far is it?", FULL)


def test_depth_knows_the_classes_of_the_tasks_that_place_them() -> None:
    assert parse("how far is the dog", {"depth": [], "segmentation": ["dog"]})[0].classes == ("dog",)
    assert parse("how far is the dog", {"depth": ["dog"]})[0].classes == ("dog",)
    with pytest.raises(UnknownName, match="'dog' is not known to depth. classification knows it"):
        parse("how far is the dog", {"depth": [], "classification": ["dog"]})


@pytest.mark.parametrize("text", ["is there a {}?", "do you see any {}s?", "tell me if this image contains a {}"])
def test_what_classification_does_not_know_is_looked_for(text: str) -> None:
    several = {"classification": ["cat"], "detection": ["cat", "dog"], "segmentation": ["dog", "tree"]}
    for name, task in (("cat", "classification"), ("dog", "detection"), ("tree", "segmentation")):
        (request,) = parse(text.format(name), several)
        assert (request.task, request.classes) == (task, (name,))
    assert parse("is there a cat?", {"detection": ["cat"]})[0].task == "detection"
    with pytest.raises(UnknownName, match="class 'tree' is not known to classification. segmentation knows it"):
        parse("is there a cat or a tree?", several)


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("what overlaps the dog?", (None, "overlaps", "dog")),
        ("which things overlap the dog?", (None, "overlaps", "dog")),
        ("is the dog inside the car?", ("dog", "in", "car")),
        ("what is the dog on top of?", ("dog", "on", None)),
        ("what does the car contain?", ("car", "contains", None)),
        ("what is the dog doing?", ("dog", None, None)),
    ],
)
def test_relations_come_in_the_words_of_the_model(text: str, relation: tuple[str | None, ...]) -> None:
    known = {"scene_graph": ["dog", "car"]}
    assert parse(text, known, ["in", "on", "overlaps", "contains"])[0].relation == relation


def test_a_relation_that_the_model_does_not_know_is_refused() -> None:
    known = {"scene_graph": ["dog", "car"]}
    with pytest.raises(UnknownName, match=r"relation 'sitting on' in '.*' is not known .*mean 'on'. It knows in, on\."):
        parse("what is the dog sitting on?", known, ["in", "on"])
    with pytest.raises(UnknownName, match=r"relation 'riding' .* scene_graph\. It knows in, on\."):
        parse("what is the dog riding?", known, ["in", "on"])
    assert parse("what does it contain?", {"classification": [], "scene_graph": ["dog"]})[0].task == "classification"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("segment the umbrella", "class 'umbrella' is not known to segmentation. detection knows it"),
        ("count them", "'them' has nothing to stand for; name the class instead"),
        ("find all but everything", "leaves out everything; name the classes"),
        ("find the dog but classify it", "'but' does not fit after 'find the dog'"),
        ("find the person and the dog, then tell me what is on it", "'it' must stand for one class in a relation"),
        ("dog " * (MAX_WORDS + 1), f"has {MAX_WORDS + 1} words, from 'dog' on; it may have {MAX_WORDS}"),
    ],
)
def test_messages(text: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        parse(text, FULL)


def test_an_unknown_task_in_the_vocabulary_is_refused() -> None:
    with pytest.raises(UnknownName, match="task 'segmentaton' is not known; did you mean 'segmentation'"):
        parse("segment the dog", {"segmentaton": ["dog"]})
    with pytest.raises(UnknownName, match="the vocabulary names no task"):
        parse("segment the dog", {})
    with pytest.raises(
        UnknownName, match="'where is the lamp' asks for detection, .* it has depth, as in 'how far is every"
    ):
        parse("where is the lamp", {"depth": []})


def test_normalise_by_hand() -> None:
    assert normalise("What\u2019s the \u201cDog\u2019s\u201d  depth?! (roughly)") == [
        *("what", "is", "the", "dog", "'s", "depth", ",", "roughly")
    ]
    assert normalise("stop_sign cell-phone a&b \U0001f436 \ufb01re\u200b") == [
        *("stop", "sign", "cell-phone", "a", "and", "b", "\U0001f436", "fire")
    ]
    assert normalise(" ... ") == []


@pytest.mark.parametrize(
    "text",
    [
        "is there only one car?",
        "do you see exactly one person?",
        "count one car",
        "are there just one car?",
        "is there a single car?",
        "is there just a single car?",
        "does the picture contain exactly one car?",
        "does this picture show a single car?",
    ],
)
def test_a_number_that_the_question_names_is_not_dropped(text: str) -> None:
    with pytest.raises(UnknownName, match="asks for a number and names it; ask how many there are"):
        parse(text, FULL)
    assert plan("is there one car?")[0]["quantifier"] == "one"


@pytest.mark.parametrize(
    "text",
    [
        "find the dogs, not only the cars",
        "count everything, not only the people",
        "segment the road, not just the cars",
        "find the dogs but not all cars",
        "find the dogs but not both cars",
    ],
)
def test_not_only_takes_nothing_away(text: str) -> None:
    with pytest.raises(UnknownName):
        parse(text, FULL)


def test_without_says_what_things_have() -> None:
    for text in (
        "count the people without dogs",
        "how many tables without chairs are there?",
        "find people without a dog",
        "how far is the person without the dog?",
        "count the cars minus the buses",
        "find the cars. count them without the buses",
    ):
        with pytest.raises(UnknownName, match=r"'(without|minus)' in '.*' may say what .* write 'but not'\."):
            parse(text, FULL)
    (left_out,) = plan("count the people but not the dogs")
    assert plan("without the dogs, count the people") == [left_out] and left_out["exclude"] == ["dog"]
    assert plan("find everything without the dogs") == plan("find everything except the dogs")
    assert plan("find everything minus the dogs") == plan("find everything except all the dogs")


def test_after_an_exclusion_nobody_knows_what_one_more_thing_is() -> None:
    for text in ("find cars and dogs, not buses, and the people", "find the cars but not buses, and people"):
        with pytest.raises(UnknownName):
            parse(text, FULL)
    assert plan("find cars, not buses, trucks and people")[0]["exclude"] == ["bus", "truck", "person"]
    assert plan("find everything but buses, and the people")[0]["exclude"] == ["bus", "person"]
    assert [p["quantifier"] for p in plan("find cars, not buses, and count the people")] == ["all", "count"]


def test_both_and_each_are_what_was_asked_for_before() -> None:
    assert plan("find the dog and the car; segment both") == plan("find the dog and the car; segment them")
    assert plan("count the cars and mark each") == plan("count the cars and mark them")
    assert plan("find both dogs and count each") == plan("find the dogs and count them")
    with pytest.raises(UnknownName, match="'both' has nothing to stand for"):
        parse("segment both", FULL)


def test_the_first_of_several_is_not_all_of_them() -> None:
    with pytest.raises(UnknownName, match="'first'"):
        parse("find the first car", FULL)
    assert plan("first find the cars") == plan("find the cars")


@pytest.mark.parametrize(
    "unit", ["segment and ", "depth and ", "please ", "the dog and ", "find dog, ", "all but dog "]
)
def test_long_instructions_stay_quick(unit: str) -> None:
    words = " ".join((unit * MAX_WORDS).split()[: MAX_WORDS // 2])
    try:
        parse(words, FULL)
    except UnknownName as error:
        assert str(error).endswith(".")


def test_the_parser_loads_no_torch() -> None:
    code = "import sys, visgen.language as l; l.parse('depth', {'depth': []}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("if there is a dog, count the cats", "'if there is a dog' makes the rest depend on it"),
        ("find the cat and if the dog is on the couch, segment it", "makes the rest depend on it"),
        ("are there only dogs?", "'only' in 'are there only dogs' asks for more than whether it is there"),
        ("does the picture contain nothing but dogs", "'nothing' in .* asks for more than whether it is there"),
        ("are all the dogs on the couch?", "'all' in .* asks for how many of them it holds"),
        ("is exactly one dog on the couch", "'one' in .* asks for how many of them it holds"),
        ("segment the people without umbrellas", "'without' in .* may say what one of them has"),
        ("find the dog, no the cat", "'no'"),
        ("how deep is the car?", "'deep' in .* may mean how deep it is itself; to ask for its distance, write 'far'"),
        ("find the picture", "'picture' in .* may be the whole picture or a thing in it; write 'everything'"),
        ("dogs?", "'dogs' names no task; write 'find dogs', or begin as in"),
        ("show me all the traffic lights", "'traffic lights' names no task; write 'find traffic lights'"),
        ("find the red car", r"'red' in 'find the red' is no class that the model knows\. Use"),
    ],
)
def test_what_says_more_than_a_plan_can_hold_is_refused(text: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        parse(text, {**FULL, "segmentation": [*FULL["segmentation"], "umbrella"]})


def test_an_if_that_is_asked_for_is_a_question() -> None:
    asked = plan("tell me if there is a dog and if there is a cat, and count the cars")
    assert [request["classes"] for request in asked] == [["dog"], ["cat"], ["car"]]
    assert plan("let me know if there is a dog, then find it") == plan("is there a dog? find it")


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("how much of the photo is road?", "segment the road"),
        ("what percentage of the picture is covered by cars", "segment the cars"),
        ("what share of this image do the trees fill?", "segment the trees"),
        ("is this photo normal?", "is this photo unusual?"),
        ("anything out of the ordinary here?", "anything unusual here?"),
        ("what is this a picture of?", "what is this?"),
        ("run object detection pls", "detect everything"),
        ("can u find the dog", "find the dog"),
        ("wheres the dog", "where is the dog"),
        ("find dogs and/or cars", "find dogs or cars"),
        ("detect the whole picture", "detect everything"),
    ],
)
def test_what_people_type_means_the_same(text: str, same: str) -> None:
    assert plan(text) == plan(same)


@pytest.mark.parametrize("text", ["is this normal", "does this photo look normal?"])
def test_a_class_called_normal_is_asked_for_as_a_class(text):
    known = {"classification": ("normal", "pneumonia"), "ood": ()}
    assert [(r.task, r.classes) for r in read_instruction(text, known)] == [("classification", ("normal",))]
    assert [r.task for r in read_instruction(text, {"classification": ("cat",), "ood": ()})] == ["ood"]


def test_letters_and_slashes_stay_names():
    known = {"detection": ("u", "v"), "segmentation": ("hand", "organ"), "ood": ()}
    assert read_instruction("find the u and the v", known)[0].classes == ("u", "v")
    assert read_instruction("segment the hand/organ", known)[0].classes == ("hand", "organ")
    assert read_instruction("can u find the v", known)[0].classes == ("v",)


@pytest.mark.parametrize(
    "text",
    [
        "tell me how many cats there are and also if there is a dog",
        "tell me how many cats there are, if there is a dog and how far the car is",
        "let me know please if there is a dog, and count the cats",
        "if there is a dog, find it",
        "locate all cars that are in the picture",
        "find the cars that you can detect",
        "give me an accurate car detection",
        "i need the exact car position",
        "are cars detected",
        "how deep in the picture is the car",
    ],
)
def test_what_a_refusal_must_not_reach(text):
    known = {"detection": ("dog", "cat", "car"), "segmentation": ("car", "road"), "depth": ()}
    assert read_instruction(text, known)


def test_the_verb_that_is_advised_is_one_that_works():
    with pytest.raises(UnknownName, match="write 'segment road'"):
        read_instruction("show the road", {"detection": ("car",), "segmentation": ("road",)})


@pytest.mark.parametrize(
    "text",
    [
        "segment everything, only people",  # one thing, and then only another
        "find cars, only trucks",
        "find everything but only dogs",
        "how many cars are dirty",  # a state
        "how many people are happy",
        "where is the tv stand",  # the class is only the first half of a word
        "find the car tag",
        "segment the hand of the person",  # a part
        "find the name of the bus",
        "what is the bus number",
        "find the cars far from me",  # some of them
        "find masked people",
        "find the strange car",
        "is there an unusual dog",
        "how far did the dog run",  # a way that was gone
        "how far should i stay away from the bear",
        "where should the dog be",
        "find people looking away",
        "segment what the person sees",
        "are there dogs only",
    ],
)
def test_what_words_around_a_class_say_is_not_lost(text: str) -> None:
    with pytest.raises(UnknownName):
        parse(text, FULL)


def test_every_one_of_them_is_all_of_them() -> None:
    for few, many in (("find every one of the dogs", "find the dogs"), ("count each one of the cars", "count the cars"),
                      ("segment the car, then the person", "segment the car and the person"),
                      ("find everything but the dogs", "find everything except the dogs"),
                      ("find the dogs, thank you very much", "find the dogs"),
                      ("visualise the depth", "show the depth")):  # fmt: skip
        assert plan(few) == plan(many), few
    assert [row["quantifier"] for row in plan("find one of the dogs")] == ["one"]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (
            "find cars\nhow far is the road\r\n\nis anything unusual",
            "find cars. how far is the road? is anything unusual?",
        ),
        ("1. find cars\n 2) count people\n- depth\n* scene graph", "find cars; count people; depth; scene graph"),
        ("find:\n- cars\n- people", "find cars, people"),
        ("find dogs and\ncats\ndepth", "find dogs and cats; depth"),
        ("segment the road and tell me\nhow far it is", "segment the road and tell me how far it is"),
    ],
)
def test_a_new_line_parts_requests_unless_a_sentence_goes_on(text: str, same: str) -> None:
    assert plan(text) == plan(same)
    with pytest.raises(UnknownName):
        parse(f"{text}\nfrobnicate the road", FULL)


def test_no_line_is_lost_where_words_are_read_one_by_one() -> None:
    assert [row["task"] for row in plan("find cars\nsomething weird here")] == ["detection", "ood"]
    assert [row["classes"] for row in plan("the headcount of dogs. the whereabouts of cars")] == [["dog"], ["car"]]
    assert [row["exclude"] for row in plan("find dogs\nexcept for cars, count everything")] == [[], ["car"]]
    for text in ("find cars\nhow many", "might it be a dog. depth map", "is anyone here? count the dogs"):
        with pytest.raises(UnknownName):
            parse(text, FULL)
    with pytest.raises(UnknownName, match="'it' has nothing to stand for"):
        parse("is anything unusual? where is it?", FULL)
    with pytest.raises(UnknownName, match="'frobnicate' names no task"):
        parse("find cars\nfrobnicate the road", FULL)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("how are the dog and the cat related?", ["dog cat", "cat dog"]),
        ("how do the dog and the cat relate to one another", ["dog cat", "cat dog"]),
        ("find the dog and the cat. how are they connected?", ["dog cat", "cat dog"]),
        ("how are the dogs related to each other", ["dog dog"]),
    ],
)
def test_what_is_between_two_classes_is_between_these_alone(text: str, ends: list[str]) -> None:
    relations = [request.relation for request in parse(text, FULL) if request.task == "scene_graph"]
    assert relations == [(subject, None, target) for subject, target in map(str.split, ends)]
    assert plan("scene graph of the dog and the cat")[0]["classes"] == ["dog", "cat"]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("does it contain a cat?", "is there a cat?"),
        ("check if there is a cat", "is there a cat?"),
        ("is a cat in the picture?", "is there a cat?"),
        ("is this image out-of-distribution?", "is this image out of distribution?"),
        ("run OOD detection", "OOD score"),
        ("image classification", "classification"),
        ("build a scene-graph", "scene graph"),
        ("the distance from the camera to the car and the dog", "how far are the car and the dog?"),
        ("how far is it from the camera to the car", "how far is the car?"),
        ("total number of objects", "count everything"),
    ],
)
def test_common_wordings_are_no_riddles(text: str, same: str) -> None:
    assert plan(text) == plan(same)


def test_what_it_contains_is_asked_of_what_was_named() -> None:
    (_, asked) = parse("find the cup. does it contain a book?", {"detection": ["cup"], "scene_graph": ["cup", "book"]})
    assert asked.relation == ("cup", "containing", "book")
    with pytest.raises(UnknownName, match="'they' has nothing to stand for"):
        parse("do they contain a dog?", FULL)


@pytest.mark.parametrize(
    "text",
    [
        "find people like me",  # some of them
        "find the people I know",
        "find people to help me",
        "what are the edges of the road made of",
        "how many people are away",
        "how many people can live here",
        "how far away from the car should I stand",  # another question
        "how far up is the bird",
        "is it unusual for a dog to be here",
        "what belongs here",
        "find cars, not trucks, bikes",  # are bikes asked for?
    ],
)
def test_what_stands_beside_a_class_is_no_filler(text: str) -> None:
    with pytest.raises(UnknownName):
        parse(text, FULL)


@pytest.mark.parametrize(
    "text", ["I would like the dogs located", "find dogs, not cats, birds or sheep", "where are dogs?"]
)
def test_what_only_resembles_such_words_is_read(text: str) -> None:
    assert plan(text)[0]["classes"] == ["dog"]
