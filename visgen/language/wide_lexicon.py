"""The English of a model that reads words itself: colours, attributes, choices, and cues for phrasings without a frame.

The form of the tables is that of `lexicon`. `WIDE_FRAMES` are tried before the frames there, and only when a model is
asked that can draw what they mean. Further slots:

    YES NO   colours of an answer            AWAY   "far away", "nearby": an attribute of all classes

The module holds tables only.
"""

from __future__ import annotations

__all__ = [
    "ADJECTIVES",
    "AFTER_CUE",
    "ATTRIBUTES",
    "AWAY",
    "BEFORE_ODD",
    "COLOURS",
    "COLOUR_WORDS",
    "CUES",
    "GLUE",
    "PAINT",
    "PAINT_IN",
    "WIDE_FRAMES",
    "WIDE_SETS",
]

# What a picture can be decoded from, the corners of the RGB cube, and further words that are colours all the same.
COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan", "white", "black")
COLOUR_WORDS = (
    *COLOURS, "orange", "purple", "pink", "violet", "brown", "grey", "gray", "turquoise", "silver", "gold", "golden",
    "beige", "navy", "teal", "lime", "maroon", "indigo", "lilac", "crimson", "scarlet", "olive", "ivory", "tan",
)  # fmt: skip
# Words before a noun that narrow it down. Places ("left"), order and comparison are none: they need the other things.
ATTRIBUTES = frozenset(
    [
        *COLOUR_WORDS, "big", "large", "huge", "small", "little", "tiny", "tall", "short", "long", "wide", "narrow",
        "thin",
        "thick", "dark", "bright", "pale", "striped", "spotted", "wooden", "metal", "round", "square", "young", "old",
        "wet",
        "open", "closed", "empty", "full", "broken",
    ]
)  # fmt: skip
AWAY = {
    **dict.fromkeys([("far", "away"), ("far",), ("distant",), ("far", "off"), ("in", "the", "distance")], "far"),
    **dict.fromkeys([("near",), ("nearby",), ("close",), ("close", "by"), ("close", "to", "me")], "near"),
}

# Verbs that take a colour: "paint the dog red", "mask the dog in red".
PAINT = "paint colour color make turn tint dye shade fill cover mark render draw"
PAINT_IN = "segment mask highlight outline show mark render draw paint colour color shade trace display"

WIDE_SETS = {
    "SHOWING": "show paint fill turn use signal answer color colour make give display return output be it_is make_it",
    "CANVAS": "it everything the_picture the_image the_whole_picture the_canvas this all",
    "IF": "if when whenever",
    "FINDING": "find detect locate spot show flag point_out look_for search_for",
    "SEEN": "there_is there_are you_see i_see you_find you_can_see it_contains it_has it_shows the_image_contains "
    "the_picture_contains the_photo_contains the_image_shows the_picture_shows the_image_has the_picture_has",
    "HERE": "here there present visible in_it",
    "IF_SO": "if_so if_yes if_there_is if_there_are if_it_is if_it_does if_you_do if_you_can",
    "OTHERWISE": "otherwise else or_else if_not if_no and_if_not or and",
    "UNLESS_NOT": "otherwise if_not if_there_is_not if_there_are_not when_there_is_not when_there_is_none "
    "otherwise else",
    "WHICH": "which_of_these which_one_of_these which_of_them which_one which_label which_class which_of_the_following",
    "FIT": "fit fits suit suits suits_it fits_it is_right applies is_it is_this is_that suits_this fits_this",
    "LABEL": "label class category answer option one panel",
    "CHOOSE": "choose pick select decide light name give tell say",
    "GENERIC": "object objects thing things item items animal animals creature vehicle vehicles device furniture",
    "POINT": "point pixel spot part",
    "RELATES": "relates relate connects connect belongs",
    "LINKED": "related connected linked",
    "THAT_IS": "that_is that_are which_is which_are who_is who_are",
    "CHECK": "check say see test find_out verify tell_me know decide judge determine figure_out work_out establish "
    "confirm",
    "LIGHT_UP": "brighten light_up highlight mark flag show point_out find reveal indicate",
    "WHATEVER": "whatever what everything_that anything_that the_things_that all_that",
    "STRAY": "does_not_belong do_not_belong is_out_of_place are_out_of_place sticks_out stands_out does_not_fit "
    "should_not_be_here is_not_normal are_not_normal",
    "BRIGHT": "near_dark_and_far_bright near_dark_far_bright dark_near_bright_far",
}

# (task, quantifier, frames); earlier ones win.
WIDE_FRAMES = (
    (
        "classification",
        "all",
        (
            "SHOWING? CANVAS? with? YES IF SEEN NAMED SCOPE? HERE? ,? UNLESS_NOT|OTHERWISE SHOWING? CANVAS? with? "
            "NO otherwise?",
            "SHOWING? CANVAS? with? YES IF NAMED BE SCOPE? HERE? ,? OTHERWISE SHOWING? CANVAS? with? NO",
            "SHOWING? CANVAS? with? YES IF SEEN NAMED ,? and? NO UNLESS_NOT",
            "SHOWING? NO unless SEEN NAMED ,? then SHOWING? YES",
            "BE there NAMED SCOPE? HERE? ,? IF_SO SHOWING? with? YES ,? OTHERWISE SHOWING? with? NO",
            "do|does IMAGE contain|show|have|include NAMED SCOPE? ,? IF_SO SHOWING? with? YES ,? OTHERWISE "
            "SHOWING? with? NO",
            "do|can you|i see NAMED SCOPE? ,? IF_SO SHOWING? with? YES ,? OTHERWISE SHOWING? with? NO",
            "BE there NAMED SCOPE? ,? YES for yes ,? and? NO for no",
            "BE there NAMED SCOPE? ,? SHOWING YES IF_SO ,? OTHERWISE SHOWING? NO",
            "SHOWING YES for NAMED ,? and? NO for none|no|nothing",
            "WHICH BE IMAGE ,? NAMED",
            "WHICH FIT ,? NAMED",
            "CHOOSE the? right|best|correct|proper LABEL ,? from|among|between|of|out_of? NAMED",
            "CHOOSE the? LABEL|panel of the? right|best|correct LABEL ,? NAMED",
            "CHOOSE the? LABEL from|among|between|of|out_of NAMED",
            "decide|choose|pick between|from|among NAMED",
            "classify IMAGE? as|into one_of? NAMED",
            "do|does IMAGE show|contain|feature|depict|portray|include|hold NAMED",
            "CHECK? WHETHER IMAGE BE NAMED",
            "what BE IMAGE ,? NAMED",
            "BE NAMED SCOPE",
            "BE NAMED HERE",
            "do|does NAMED appear SCOPE?",
            "CHECK WHETHER there BE NAMED",
            "CHECK WHETHER you see NAMED",
            "CHECK WHETHER SEEN NAMED",
        ),
    ),
    (
        "scene_graph",
        "all",
        (
            "FINDING SUBJ THAT_IS? PRED OBJ",
            "LIGHT SUBJ THAT_IS? PRED OBJ",
            "pick_out|list SUBJ THAT_IS? PRED OBJ",
            "SUBJ THAT_IS? PRED OBJ",
            "BE there SUBJ THAT_IS? PRED OBJ",
            "where BE SUBJ THAT_IS? PRED OBJ",
            "do|can you|i see SUBJ THAT_IS? PRED OBJ",
            "CHECK? WHETHER SUBJ BE PRED OBJ",
            "CHECK? WHETHER there BE SUBJ THAT_IS? PRED OBJ",
            "CHECK what|whatever SUBJ BE PRED",
            "name|say|show|find|detect|locate|spot what|whatever SUBJ BE PRED",
            "name|say|show|find|detect|locate|spot what|whatever|who|whoever BE PRED OBJ",
            "which|what GENERIC BE SUBJ PRED",
            "show|explain|describe|find_out|tell how SUBJ RELATES to|with OBJ",
            "show|explain|describe|find_out|tell how SUBJ BE LINKED to|with|by OBJ",
            "how do|does SUBJ RELATES to|with OBJ",
            "how BE SUBJ LINKED to|with OBJ",
            "in what relation BE SUBJ to OBJ",
            "BE it OBJ that|which|who SUBJ BE PRED",
            "BE it SUBJ that|which|who BE PRED OBJ",
            "LIGHT|describe|explain? DET? relation|relationship|connection|link of|from SUBJ to|with OBJ",
            "what links|connects|ties SUBJ to|with|and OBJ",
            "subject SUBJ in? red? ,? object OBJ in? blue? ,? green? tells|tell|shows the relation",
            "SUBJ red ,? OBJ blue ,? relation green",
            "paint SUBJ red and OBJ blue and the relation green",
        ),
    ),
    (
        "detection",
        "count",
        (
            "how many NAMED BE AWAY",
            "count NAMED THAT_IS AWAY",
            "what BE? DET? number|count|total of NAMED",
            "what number of NAMED BE there",
            "say|tell|work_out|determine|find_out how many NAMED EXIST",
        ),
    ),
    (
        "detection",
        "all",
        (
            "FINDING NAMED THAT_IS AWAY",
            "cover|mark NAMED with DET? filled|solid? box|boxes|rectangle|rectangles",
            "put|draw|place DET? filled? bounding? box|boxes|rectangle|rectangles around|on|over|onto NAMED",
            "LIGHT? DET? filled? bounding? box|boxes|rectangle|rectangles around|for NAMED",
            "LIGHT? DET? filled? bounding box|boxes|rectangle|rectangles of|on NAMED",
            "DET? filled? box|boxes|rectangle|rectangles of|on NAMED",
            "LIGHT? DET? location|locations|position|positions|place|places|whereabouts of NAMED",
            "show|tell me? where NP BE",
        ),
    ),
    (
        "depth",
        "all",
        (
            "SEEK|LIGHT? how FAR FROM? BE? DET? POINT BE? ,? BRIGHT?",
            "LIGHT? DET? distance|depth|range of DET? POINT",
            "what distance away BE NP",
            "how distant BE NP",
            "shade everything|it|all by|with distance|depth",
            "draw near things dark and far things bright",
        ),
    ),
    (
        "ood",
        "all",
        (
            "LIGHT_UP WHATEVER LOOK? ODD",
            "LIGHT_UP WHATEVER STRAY",
            "make WHATEVER LOOK? ODD glow|bright|shine",
            "what|which STRAY",
            "what|which OBJECTS STRAY",
            "what|which OBJECTS BE not normal|usual|ordinary",
            "LIGHT_UP WHATEVER BE not normal|usual|ordinary",
        ),
    ),
    (
        "segmentation",
        "all",
        (
            "LIGHT|mark|show|find|pick_out DET? pixel|pixels|region|area|part|shape|silhouette|outline of NP",
            "which|what pixel|pixels belong_to|show|contain|form NP",
            "which|what part of IMAGE BE NP",
        ),
    ),
)

# Phrases that point to a task whatever stands around them. They are read only where no frame fits, and only when every
# other word is `GLUE` or part of one list of classes: see `cues`.
CUES = {
    "segmentation": "segment segments segmented segmenting segmentation mask masks masked masking matte mattes "
    "alpha_matte cut-out cutout cutouts cut_out cut_away cut_round cut_around stencil silhouette silhouettes shape "
    "shapes outline outlines outlined outlining edge edges contour contours border borders boundary boundaries "
    "perimeter region regions area areas pixel pixels pixel_by_pixel singled_out crop_out cropped crop snip "
    "snipped clip clipped carve carve_out mask_out trace_out remove_the_background take_away_the_background "
    "drop_the_background erase_the_background blur_the_background remove_the_background_behind "
    "remove_the_background_around from_the_background from_its_background from_their_background "
    "from_its_surroundings off_its_background off_the_background off_its_backdrop from_the_backdrop "
    "from_its_backdrop from_everything_else from_the_rest extract extracted isolate isolated trace traced "
    "delineate delineated shade shaded footprint extent highlight highlighted which_parts which_part which_bits "
    "which_bit sticker lasso rotoscope",
    "detection": "rectangle rectangles box boxes boxed bounding_box bounding_boxes bounding_rectangle frame frames "
    "framed coordinates coordinate corner corners whereabouts location locations position positions positioned "
    "placement pinpoint locate located locating detect detected detecting detection detector where which_spot "
    "which_spots which_place which_places looking_for locations_of look_out_for search searching hunt hunt_down "
    "hunt_for track_down seek "
    "seek_out tag zoom_in_on zoom_to zero_in_on home_in_on hiding scout",
    "count": "how_many headcount head_count tally tally_up tot_up add_up sum_up total number count counted "
    "counting enumerate quantity amount how_numerous the_crowd_of",
    "depth": "gap how_long_is_the_way how_long_is_the_walk far_from_me far_from_us depth depths depth_map "
    "depth_picture depth_image depth_values distance distances range ranges "
    "how_far how_close how_near how_deep how_distant how_remote how_much_room how_much_space how_long_a_walk "
    "how_long_a_way how_far_off how_far_away close_or_far far_or_near near_or_far far_or_close close_or_distant "
    "close_or_far_away far_away_or_close near_or_far_away in_metres in_meters in_feet in_yards in_miles in_steps "
    "how_many_metres how_many_meters how_many_feet how_many_steps how_many_paces how_many_yards how_many_miles "
    "how_many_centimetres",
    "classification": "classify identifiable recognisable recognizable noticeable any_sign_of any_signs_of "
    "any_trace_of any_hint_of a_sign_of a_trace_of feature "
    "features featured appear appears appearing occur occurs exist exists shows_up show_up turns_up turn_up "
    "be_seen be_found thing_shown object_shown am_i_looking_at are_we_looking_at contain contains include includes "
    "depict depicts depicted portray portrays in_here present",
    "ood": "unusual unusually strange strangely odd oddly weird weirdly bizarre peculiar anomalous abnormal "
    "abnormally suspicious unfamiliar unexpected fishy wrong amiss awry unnatural irregular surprising "
    "out_of_place out_of_the_ordinary out_of_distribution fit_in fits_in belong_here belongs_here not_belong "
    "do_not_belong does_not_belong anomaly anomalies outlier outliers stand_out stands_out not_normal",
}

# Words that say nothing about the task: they may stand anywhere around a cue. Prepositions of place are none of them,
# nor are "thing", negations, numbers, comparisons, and verbs with an object: "mask the thing on the couch" is not about
# the couch.
GLUE = (
    "a an the this that these those my our your its all every each both there here i you we me us it they one "
    "anyone anybody someone somebody everyone is are am be been being was were do did does has have had having "
    "could would will shall should may might can must ought to of for from as so up off out into and or if then "
    "just only exactly precisely roughly approximately really very actually maybe perhaps possibly simply "
    "carefully clearly fully entirely completely kindly please thanks thank_you cheers now today later "
    "finally also too again ever even still already yet well okay ok right sure alright anywhere somewhere "
    "everywhere which what any some whether while because since when want wants wanted need needs needed like love "
    "loved wish hope get gets got give gives given hand pass bring fetch send deliver produce create generate "
    "build compute calculate estimate measure judge gauge assess determine decide establish evaluate check verify "
    "confirm report return output print render display draw sketch plot make makes made let lets put place drop "
    "lay set add attach show shows showing shown see sees seen seeing look looks looking view find finds found "
    "spot tell tells say says said name explain describe help helps try work work_out figure_out find_out sort_out "
    "turn convert change transform use using know knows wonder wondering think thinks guess suppose imagine "
    "believe expect mean understand interested curious able possible keen happy glad sorry hello hi hey keep keeps "
    "kept pick leave left_over drop_the_rest throw_away_the_rest ignore_the_rest forget_the_rest come comes go "
    "goes going take_a_look take_up takes_up stand stands sit_there sits_there stay stays live lives occupies "
    "covers seem seems reach walk between_me_and between_us_and between_the_camera_and between_the_viewer_and "
    "between_here_and away away_from image picture photo photograph shot snapshot scene view footage single exact "
    "precise accurate full complete rough good nice quick proper correct clean sharp detailed whole entire actual "
    "expert answer result question way manner kind in_any_way in_some_way in_the_picture in_the_image in_the_photo "
    "in_this_picture in_this_image in_this_photo in_the_scene in_this_scene in_this_shot in_the_shot in_the_frame "
    "in_my_picture in_my_photo in_view in_question in_here up_there over_there down_there out_there provide "
    "provides supply offer share obtain receive have_got run perform apply carry_out carried_out grateful thankful "
    "pleased delighted appreciate appreciated favour moment chance possibility idea clue purpose task job order "
    "case that_shows that_show that_marks that_mark that_covers that_cover showing_only say_something tell_apart "
    "make_out pick_out does_not_it is_not_it are_not_they do_not_they is_not_that over_there right_there in_which "
    "in_what at_what on_my_photo in_my_image be_so_kind be_so_good be_so_kind_as be_so_good_as be_careful must_i "
    "must_we get_there rather somewhat slightly bit little_bit kind_of sort_of as_well as_well_as_possible "
    "as_exactly_as_possible for_sure in_fact in_total altogether overall exact_same most_exact every_single "
    "each_single at_least_roughly anyhow anyway honestly basically essentially literally me_out us_out"
)
AFTER_CUE = {  # words that may follow a cue of these tasks, and what comes before one
    "segmentation": ("around", "round", "over"),
    "detection": ("around", "round", "on", "over", "onto"),
    "ood": ("about", "with"),
}
BEFORE_ODD = ("anything", "something", "everything")

# Words that end no noun phrase, so that "segment the beautiful" names nothing.
ADJECTIVES = (
    "beautiful nice pretty good bad new best worst same other next last first second third great lovely ugly funny "
    "cute fast slow hot cold warm cool happy sad easy hard simple strange real true false right wrong left upper "
    "lower top bottom front back nearest closest farthest biggest smallest largest tallest leftmost rightmost more "
    "less most least many few two three four five six seven eight nine ten several various different similar "
    "better worse bigger smaller closer farther nearer he she him who whom whose why never always often soon again "
    "another else ones former latter once twice nobody none neither nor either someone somebody anyone anybody "
    "everyone everybody live lives yes no not if so because while until unless than very too quite rather almost"
)
