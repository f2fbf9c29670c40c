"""The English that the parser knows: verbs, nouns and sentence frames per task, small words, synonyms and plurals.

These are tables; `grammar` reads them. In a table a space separates entries, `_` joins the words of one entry. In a
frame `|` separates alternatives, `?` makes an element optional, and capitals name a set of `SETS` or one of the slots:

    NP       classes, "everything" or a pronoun, with exclusions     NAMED    as NP, but at least one class
    IMAGE    the picture itself ("this photo", "it")                 SCOPE    "in the picture"
    SUBJ OBJ one class or pronoun of a relation                      PRED     its predicate: PRED_S "rides",
                                                                              PRED_BASE "ride"

Priority: earlier tables of `FRAMES` win over later ones, frames over verbs, verbs over nouns. Colours and adjectives
are not here yet: an instruction that needs them is refused. The module is long because it holds tables
only, which are read side by side.
"""

from __future__ import annotations

__all__ = [
    "BEGINNINGS",
    "CONTRACTIONS",
    "EXAMPLES",
    "FRAMES",
    "NEVER_SINGULAR",
    "NOUNS",
    "PLURALS",
    "POSTURES",
    "PREDICATES",
    "RELATED",
    "SETS",
    "SYNONYMS",
    "TRANSITIVE",
    "VERBS",
    "phrases",
]


def phrases(text: str) -> tuple[tuple[str, ...], ...]:
    """Split a table entry into its phrases, each a tuple of words, longest first."""
    return tuple(sorted((tuple(entry.split("_")) for entry in text.split()), key=len, reverse=True))


# (task, quantifier, verbs): each takes a noun phrase, and several may share one ("segment and count the cars").
VERBS = (
    (
        "segmentation",
        "all",
        "segment mask mask_out outline isolate separate highlight trace delineate cut_out extract select mark mark_out "
        "fill_in shade",
    ),
    (
        "detection",
        "all",
        "find detect locate localise localize spot box list look_for search_for pinpoint point_out track_down frame "
        "seek",
    ),
    ("detection", "count", "count count_up tally"),
)

# (task, nouns, prepositions): "the depth of the box", "depth and segmentation of the dog".
NOUNS = (
    (
        "depth",
        "depth depths depth_map depth_estimate depth_estimation distance distances range range_map",
        "of to from for",
    ),
    (
        "segmentation",
        "mask masks segmentation segmentation_mask segmentation_masks segmentation_map semantic_segmentation outline "
        "image_segmentation outlines silhouette silhouettes contour contours pixels region regions shape shapes",
        "of for",
    ),
    ("detection", "bounding_box bounding_boxes object_detection detection detections", "of for around"),
    (
        "ood",
        "ood ood_detection anomaly_map anomaly_score anomaly_detection ood_score out_of_distribution_score",
        "of for",
    ),
    ("scene_graph", "scene_graph relation relations relationship relationships", "of for between among"),
)

SETS = {
    "BE": "is are",
    "LOOK": "is are look looks seem seems appear appears",
    "WHETHER": "whether if",
    "OBJECTS": "object objects thing things item items",
    "SOMETHING": "anything something any_object any_objects any_thing any_things",
    "ODD": "unusual strange odd weird bizarre peculiar anomalous abnormal suspicious unfamiliar unexpected "
    "out_of_place out_of_distribution out_of_the_ordinary",
    "NORMAL": "normal ordinary usual typical",
    "ANOMALIES": "anomaly anomalies outlier outliers oddity oddities",
    "SEEK": "find detect locate spot show highlight flag point_out look_for search_for segment mask outline",
    "SHARE": "share percentage percent fraction proportion part",
    "COVERED": "covered_by covered_with filled_with taken_up_by made_up_of",
    "FAR": "far distant close near deep",
    "FROM": "away from_me from_us from_here from_the_camera from_the_viewer away_from_me away_from_us away_from_here "
    "away_from_the_camera to_me to_us to_the_camera to_the_viewer",
    "EXIST": "are_there is_there there_are there_is do_you_see can_you_see can_i_see you_can_see you_see are_visible "
    "is_visible are_present",
    "LIGHT": "estimate predict compute calculate gauge measure determine assess judge work_out figure_out get find "
    "show "
    "draw sketch produce generate render create make compile supply provide return output display report print plot "
    "build visualise visualize deliver want have run perform carry_out do what_is what_are",
    "PERSON": "me us",
    "DET": "the a an all any some every each both only just all_the all_of all_of_the any_of_the each_of_the "
    "every_one_of_the each_one_of_the just_the only_the my our your his her its their this that "
    "these those nothing_but nothing_but_the visible",
    "ONE": "one a_single just_one only_one exactly_one one_of_the any_one",
    "EVERYTHING": "everything anything all all_of_it",
    "ELSE": "everything_else all_else anything_else the_rest the_rest_of_it",
    "POINTED_AT": "this_thing that_thing this_object that_object",
    "PRONOUN": "it them they this that these those",
    "BOTH": "both each",
    "IMAGE_NOUN": "image picture photo photograph photography scene frame shot snapshot view close-up closeup",
    "WHOLE": "whole entire full",
    "AND": "and or plus then and_then also as_well_as and_also along_with together_with",
    "THEN": "and then and_then and_also also plus after_that but_also finally next",
    "REMOVE": "except except_for excepting apart_from aside_from other_than excluding exclude without ignoring ignore "
    "leaving_out leave_out omitting omit skipping skip not_including not no minus save_for that_is_not that_are_not",
    "REMOVE_FROM_ALL": "but but_for",
    "BEFORE": "ignore ignoring exclude excluding skip skipping omit omitting leave_out leaving_out except_for without "
    "apart_from aside_from other_than",
    "LEAD": "please kindly hi hello hey hi_there hello_there hey_there ok okay now just first also then next visgen "
    "could_you can_you would_you will_you could_you_please can_you_please i_want i_need i_would_like i_want_you_to "
    "i_need_you_to i_would_like_you_to i_want_to_know i_would_like_to_know i_want_to_see i_would_like_to_see "
    "i_need_to_know help_me help_me_to let_us let_me_know tell_me show_me give_me try_to go_ahead_and "
    "is_it_possible_to would_you_be_so_kind_as_to "
    "do_you_know can_you_tell can_you_tell_me could_you_tell_me can_you_say i_wonder i_am_wondering i_was_wondering "
    "i_only_want i_just_want i_only_want_to_see i_just_want_to_see i_only_need i_just_need i_would_love could_i_get "
    "can_i_get could_i_have can_i_have may_i_have could_we_get can_we_get i_would_love_to_see "
    "it_would_be_great_to_have is_it_possible_to_get hand_me get_me give_us show_us tell_us i_am_interested_in "
    "i_am_after simply try_and would_you_mind could_you_show_me can_you_show_me could_you_give_me "
    "can_you_give_me would_you_tell_me any_idea",
    "TAIL": "please thanks thank_you many_thanks thanks_a_lot thank_you_very_much thanks_very_much for_me for_us "
    "now here there too also only as_well right_now if_you_can if_you_could if_possible you_can_see that_you_can_see "
    "you_see from_me from_us from_here from_the_camera for_my_project for_a_project for_a_report "
    "for_my_report for_a_survey for_the_record for_my_work for_research for_a_paper per_pixel for_every_pixel "
    "for_each_pixel at_every_pixel pixel_by_pixel right okay ok anywhere at_all to_you do_you_think in_detail "
    "as_an_image "
    "as_a_picture as_a_map",
}

# (task, quantifier, frames)
FRAMES = (
    (
        "ood",
        "all",
        (
            "SEEK? SOMETHING that? LOOK? ODD",
            "SEEK? SOMETHING|what that? does|do not belong",
            "SEEK DET? ANOMALIES",
            "SEEK DET? ODD OBJECTS",
            "BE there? SOMETHING ODD",
            "BE there? SOMETHING ODD about|with NP",
            "BE there DET? ODD OBJECTS",
            "WHETHER there BE SOMETHING ODD",
            "WHETHER there BE DET? ODD OBJECTS",
            "BE there? DET? ANOMALIES",
            "does|do SOMETHING look|seem|appear ODD",
            "does|do SOMETHING not belong",
            "WHETHER SOMETHING LOOK ODD",
            "WHETHER SOMETHING does|do not belong",
            "what|which OBJECTS? LOOK ODD",
            "what|which OBJECTS? does|do not belong",
            "BE NP ODD",
            "BE IMAGE NORMAL",
            "WHETHER IMAGE LOOK NORMAL",
            "does|do IMAGE look|seem|appear NORMAL",
            "does|do NP look|seem|appear ODD",
            "WHETHER NP LOOK ODD",
            "how ODD BE NP",
            "how ODD NP BE",
        ),
    ),
    # Before the scene graph, where "what does it contain" would ask for what is inside an "it" named before.
    ("classification", "all", ("what does IMAGE show|contain", "what IMAGE shows|contains")),
    (
        "scene_graph",
        "all",
        (
            "what|who|which OBJECTS? BE PRED OBJ",
            "what|who PRED_S OBJ",
            "what|which OBJECTS PRED_BASE OBJ",
            "what|which SUBJ BE PRED OBJ",
            "BE SUBJ PRED OBJ",
            "WHETHER SUBJ BE PRED OBJ",
            "what|who BE SUBJ PRED",
            "what|who SUBJ BE PRED",
            "what|who do|does SUBJ PRED_BASE",
            "what|whom SUBJ PRED_S",
            "do|does SUBJ PRED_BASE OBJ",
            "what BE SUBJ doing",
            "what SUBJ BE doing",
            "how BE SUBJ related|connected to|with OBJ",
            "how SUBJ BE related|connected to|with OBJ",
            "how BE NP related|connected to_each_other|to_one_another?",
            "how do|does NP relate to_each_other|to_one_another?",
        ),
    ),
    (
        "depth",
        "all",
        (
            "LIGHT? how FAR FROM? BE NP FROM?",
            "LIGHT? how FAR FROM? NP BE FROM?",
            "how FAR BE it FROM to NP",
            "LIGHT? DET? distance|distances FROM to NP",
            "LIGHT? DET? distance|distances FROM",
        ),
    ),
    (
        "classification",
        "all",
        (
            "classify|categorise|categorize|recognise|recognize IMAGE?",
            "label IMAGE",
            "LIGHT? DET? classification|class|category of|for IMAGE",
            "LIGHT? DET? image? classification",
            "what BE IMAGE",
            "what IMAGE BE",
            "what BE IMAGE DET IMAGE_NOUN of",
            "what BE DET IMAGE_NOUN of",
            "what kind|sort|type|class of OBJECTS|IMAGE_NOUN BE IMAGE",
            "what|which class|category|breed|species BE IMAGE",
            "what|which class|category|breed|species IMAGE BE",
            "what am i looking at",
            "BE there NAMED",
            "check|see|verify? WHETHER there BE NAMED",
            "BE NAMED SCOPE",
            "do|does IMAGE contain|show|have|include NAMED",
            "WHETHER IMAGE contains|shows|has|includes NAMED",
            "BE IMAGE NAMED",
            "WHETHER IMAGE BE NAMED",
            "BE IMAGE DET IMAGE_NOUN of NAMED",
            "do|can you|i see NAMED",
        ),
    ),
    (
        "detection",
        "count",
        (
            "count? how many NP EXIST?",
            "count? how many NP BE SCOPE",
            "how many NP IMAGE holds|has|contains|shows|includes",
            "LIGHT? DET? total? number|count|tally|total of NP",
        ),
    ),
    (
        "detection",
        "all",
        (
            "where SCOPE? BE NP",
            "where NP BE",
            "put|draw|place DET? bounding? box|boxes around|on|over NP",
            "what|which OBJECTS BE there|visible|present",
            "what|which OBJECTS BE SCOPE",
            "what|which OBJECTS? do|can you|i see",
            "what you see",
            "what BE there? SCOPE",
        ),
    ),
    (
        "segmentation",
        "all",
        (
            "cut NP out",
            "which|what pixels BE|show|belong_to NP",
            "label|segment every|each|all|all_the pixel|pixels",
            "how much of IMAGE BE COVERED? NAMED",
            "how much of IMAGE do|does NAMED cover|fill|occupy|take_up",
            "what|which SHARE of IMAGE BE COVERED? NAMED",
            "what|which SHARE of IMAGE do|does NAMED cover|fill|occupy|take_up",
        ),
    ),
)

# One sentence per task that always parses: error messages offer them.
EXAMPLES = {
    "classification": "what is this?",
    "detection": "find everything",
    "segmentation": "segment everything",
    "depth": "how far is everything?",
    "ood": "is anything unusual?",
    "scene_graph": "scene graph",
}

# Predicates to other ways of writing them. The names are those that Visual Genome and the town use.
PREDICATES = {
    "on": "on_top_of upon atop",
    "in": "inside inside_of within",
    "under": "underneath beneath",
    "below": "",
    "above": "",
    "over": "",
    "behind": "in_back_of",
    "in front of": "ahead_of",
    "next to": "beside alongside",
    "near": "close_to",
    "left of": "to_the_left_of on_the_left_of left_from",
    "right of": "to_the_right_of on_the_right_of right_from",
    "against": "",
    "along": "",
    "across": "across_from",
    "matching": "",
    "attached to": "",
    "belonging to": "",
    "covered in": "covered_with",
    "hanging from": "",
    "leaning on": "leaning_against",
    "looking at": "",
    "lying on": "laying_on",
    "lying in": "laying_in",
    "mounted on": "",
    "parked on": "",
    "plugged into": "",
    "pointing at": "",
    "sitting on": "seated_on",
    "sitting in": "seated_in",
    "standing on": "",
    "standing in": "",
    "walking on": "",
    "walking in": "",
}

# Predicates that are verbs with an object: (name, base form, third person).
TRANSITIVE = tuple(
    tuple(line.split("/"))
    for line in [
        "carrying/carry/carries",
        "chasing/chase/chases",
        "containing/contain/contains",
        "covering/cover/covers",
        "drinking/drink/drinks",
        "driving/drive/drives",
        "eating/eat/eats",
        "facing/face/faces",
        "feeding/feed/feeds",
        "holding/hold/holds",
        "kicking/kick/kicks",
        "leading/lead/leads",
        "overlapping/overlap/overlaps",
        "playing/play/plays",
        "pulling/pull/pulls",
        "pushing/push/pushes",
        "reading/read/reads",
        "riding/ride/rides",
        "throwing/throw/throws",
        "touching/touch/touches",
        "using/use/uses",
        "watching/watch/watches",
        "wearing/wear/wears",
    ]
)

# Verbs that only say how a place is taken, in the forms of `TRANSITIVE`: "stands next to" is "next to".
POSTURES = (
    ("sitting", "sit", "sits"),
    ("standing", "stand", "stands"),
    ("lying", "lie", "lies"),
    ("leaning", "lean", "leans"),
    ("hanging", "hang", "hangs"),
    ("walking", "walk", "walks"),
    ("resting", "rest", "rests"),
    ("waiting", "wait", "waits"),
)

# Each line holds names of one thing; any of them means the one that the model knows. Nothing broader, nothing narrower.
SYNONYMS = (
    "person human human_being",
    "car automobile motorcar",
    "couch sofa settee",
    "bicycle bike pushbike push_bike",
    "motorcycle motorbike motor_bike",
    "airplane aeroplane plane",
    "truck lorry",
    "road street roadway",
    "pavement sidewalk footpath footway",
    "tv television telly tv_set television_set tv_monitor",
    "cell_phone cellphone mobile_phone mobile smartphone phone",
    "refrigerator fridge",
    "donut doughnut",
    "dining_table table dinner_table",
    "potted_plant pot_plant houseplant house_plant",
    "hair_drier hair_dryer blow_dryer",
    "remote remote_control",
    "mouse computer_mouse",
    "laptop laptop_computer notebook_computer",
    "traffic_light traffic_signal stoplight",
    "handbag purse",
    "backpack rucksack knapsack",
    "bicyclist cyclist",
    "face human_face",
    "rhino rhinoceros",
    "water_lilly water_lily",
    "stop_sign stopsign",
)

# Words near to classes without being one of their names: offered in an error, never put in their place.
RELATED = {
    "person": "pedestrian man woman",
    "pedestrian": "person",
    "man": "person pedestrian",
    "woman": "person pedestrian",
    "child": "person pedestrian",
    "boy": "person pedestrian",
    "girl": "person pedestrian",
    "kid": "person pedestrian",
    "baby": "person",
    "cyclist": "person bicycle",
    "puppy": "dog",
    "kitten": "cat",
    "vehicle": "car truck bus motorcycle bicycle",
    "taxi": "car",
    "van": "car truck",
    "animal": "dog cat horse bird",
    "plant": "potted_plant tree",
    "ball": "sports_ball soccer_ball",
    "glass": "wine_glass cup",
    "sign": "sign_symbol stop_sign",
    "house": "building",
    "desk": "dining_table table",
    "bag": "handbag backpack suitcase",
    "ground": "road pavement",
    "fruit": "apple banana orange",
}

# Singular to plurals that no rule gives.
PLURALS = {
    "person": "people persons",
    "human": "humans",
    "man": "men",
    "woman": "women",
    "child": "children",
    "mouse": "mice mouses",
    "goose": "geese",
    "foot": "feet",
    "tooth": "teeth",
    "ox": "oxen",
    "knife": "knives",
    "wife": "wives",
    "life": "lives",
    "wolf": "wolves",
    "leaf": "leaves",
    "shelf": "shelves",
    "loaf": "loaves",
    "calf": "calves",
    "half": "halves",
    "scarf": "scarves scarfs",
    "hoof": "hooves hoofs",
    "cactus": "cacti cactuses",
    "octopus": "octopuses octopi",
    "bus": "buses",
    "ski": "skis",
    "taxi": "taxis",
    "sheep": "sheep",
    "fish": "fish fishes",
    "deer": "deer",
    "aircraft": "aircraft",
    "bison": "bison",
    "moose": "moose",
}

# Words in -s that are no plural of a word without it.
NEVER_SINGULAR = frozenset(
    ["glasses", "trousers", "pants", "jeans", "shorts", "goggles", "binoculars", "clothes", "stairs", "lens", "gas"]
)

CONTRACTIONS = {
    **{
        f"{word}'s": f"{word} is"
        for word in ["what", "where", "who", "there", "it", "that", "how", "here", "which", "everything", "anything"]
    },
    **{f"{word}s": f"{word} is" for word in ["what", "where", "there", "how"]},
    **{
        f"{word}n{mark}t": f"{word} not"
        for word in ["is", "are", "do", "does", "could", "would", "should", "was", "were", "has", "have", "did"]
        for mark in ("'", "")
    },
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "let's": "let us",
    "i'd": "i would",
    "i'm": "i am",
    "what're": "what are",
    "where're": "where are",
    "they're": "they are",
    "who're": "who are",
    "out-of-distribution": "out of distribution",
    "out-of-place": "out of place",
    "scene-graph": "scene graph",
    "bounding-box": "bounding box",
    "bounding-boxes": "bounding boxes",
    "depth-map": "depth map",
    "pls": "please",
    "plz": "please",
    "thx": "thanks",
    "gimme": "give me",
}

# Words that may open an instruction, to suggest one for a misspelt word.
BEGINNINGS = tuple(
    sorted(
        {entry[0] for _, _, verbs in VERBS for entry in phrases(verbs)}
        | {entry[0] for _, nouns, _ in NOUNS for entry in phrases(nouns)}
        | {
            entry[0]
            for entry in phrases("classify categorise recognise label estimate measure how what where which who")
        }
    )
)
