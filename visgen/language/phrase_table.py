"""The sentences that instructions are drawn from: verb frames per kind of request, and what stands around them.

A frame begins with its mood: "!" asks for an action ("segment ..."), "?" is a question, "." names a thing ("the mask
of ..."). In braces stand the slots, which `phrases` fills:

    {np}    any noun phrase: "the dog", "all dogs", "the cats and the dogs"        {one}    "dog"
    {a}     "a dog", "an orange"                                                   {many}   "dogs"
    {pairs} "{np} red and {np} blue": one frame per pair, joined                    {list}   "dog, cat, car"
    {yes} {no}      colours of an answer                                           {or}     "a dog or a cat"
    {s} {o} {pred}  subject, object and predicate of a relation                    {is}     "is" or "are" for {np}

Whole frames are held out of training: `HELD_OUT` has its own for every kind, and shares no frame with `FRAMES`.
The module holds tables only.
"""

from __future__ import annotations

__all__ = ["CLOSINGS", "FRAMES", "HELD_OUT", "OPENERS", "PAIR_FRAMES", "PAIR_HELD_OUT", "REASONS", "SCOPES"]

OPENERS = {
    "!": (
        "please", "could you", "can you", "would you", "I want you to", "I need you to", "I would like you to",
        "kindly",
        "now", "hello,", "go ahead and", "could you please",
    ),
    "?": (
        "hi,", "hello,", "ok,", "please,", "hey,", "okay,", "hi there,", "now,", "hello there,", "also,", "just",
        "next,",
    ),
    ".": (
        "I want", "I need", "give me", "show me", "please give me", "could you give me", "I would like",
        "please show me",
        "can you give me", "now give me", "would you give me", "I need you to give me",
    ),
}  # fmt: skip
SCOPES = ("in this picture", "in the image", "in the photo", "in this scene", "in the photograph", "in this frame")
REASONS = ("for my project", "for a report", "for a survey", "for the record")
CLOSINGS = ("please", "thanks", "thank you", "for me", "now")

FRAMES: dict[str, tuple[str, ...]] = {
    "segmentation": (
        "! segment {np}", "! mask {np}", "! mask every {one}", "! outline {np}", "! isolate {np}", "! highlight {np}",
        "! cut out {np}", "! separate {np}", "! trace {np}", "! delineate {np}", "! mask out {np}", "! select {np}",
        "! mark out {np}", "! mark the pixels of {np}", "! show the pixels of {np}", "! pick out the pixels of {np}",
        ". the mask of {np}", ". a mask for {np}", ". the pixels of {np}",
        ". the segmentation of {np}", ". a segmentation mask for {np}", ". the silhouette of {np}",
        ". the outline of {np}", "? which pixels are {one}", "? which pixels belong to {np}", "? what pixels show {np}",
    ),
    "detection": (
        "! find {np}", "! detect {np}", "! locate {np}", "! spot {np}", "! box {np}", "! list {np}", "! look for {np}",
        "! search for {np}", "! point out {np}", "! cover each {one} with a filled box",
        "! cover {np} with filled boxes",
        "! draw a box around {np}", "! draw boxes around {np}", "! put a box on each {one}",
        "! place bounding boxes around {np}", "? where {is} {np}", ". the bounding boxes of {np}",
        ". a box around each {one}", ". the location of {np}", ". the detections of {np}",
    ),
    "count": (
        "! count {np}", "! count the {many}", "? how many {many} are there", "? how many {many} can you see",
        ". the number of {many}", "! count how many {many} there are", "? how many {many} are visible",
        "! count all {many}", "! count up the {many}", "? how many {many} do you see", "? what is the number of {many}",
        "! tell me how many {many} there are", "! determine the number of {many}", ". the count of {many}",
        "? how many {many} are present",
    ),
    "depth": (
        "? how far is everything", "? how far away is everything", "! estimate the depth", ". the depth map",
        "! show how far every point is", "! show how far every point is, near dark and far bright",
        "! measure the distance to everything", ". the depth of this scene", "? how deep is the scene",
        "! predict the depth", "! compute the depth map", ". the distance of every point", "? how close is everything",
        "! estimate the distance of every point", "? what is the depth of the scene",
        "? how far away are all the objects", ". a depth estimate",
    ),
    "depth of": (
        "? how far {is} {np}", "? how far away {is} {np}", ". the distance to {np}", ". the depth of {np}",
        "! measure how far {np} {is}", "! estimate the distance to {np}", "? how close {is} {np}",
        "? what is the distance to {np}", "? how distant {is} {np}", "! estimate the depth of {np}",
        "! measure the distance of {np}", "! tell me how far {np} {is}", "? how near {is} {np}",
        "? what is the depth of {np}", "! show how far away {np} {is}",
    ),
    "flag": (
        "? is there {a}", "? are there any {many}", "? does the image contain {a}", "? do you see {a}",
        "? can you see any {many}", "? is {a} in the image", "? does this photo show {a}",
        "! tell me whether there is {a}",
        "! tell me if there is {a}", "? do you see any {many}", "? does the picture contain any {many}",
        "! tell me if the image contains {a}", "? is this a photo of {a}", "? are there {many} here",
        "? is there any {one}",
    ),
    "coloured flag": (
        "! fill with {yes} if {a} is here, otherwise with {no}", "? is there {a}? if so show {yes}, otherwise {no}",
        "! show {yes} if there is {a} and {no} if not", "? is there {a}? {yes} for yes, {no} for no",
        "! paint everything {yes} if there is {a}, otherwise {no}", "? do you see {a}? if so {yes}, if not {no}",
        "! answer {yes} if {a} is there, else {no}", "! show {yes} if you see {a}, otherwise show {no}",
        "? does the image contain {a}? if yes show {yes}, if no show {no}",
        "! fill the picture with {yes} if there is {a}, else with {no}",
        "? is there {a}? show {yes} if so, otherwise {no}",
        "! {yes} if there is {a}, {no} if not", "! show {no} unless there is {a}, then {yes}",
        "? are there any {many}? if so show {yes}, otherwise {no}", "! color it {yes} if there is {a}, {no} otherwise",
    ),
    "panel": (
        "? which of these is it: {list}", "? is it {or}", "! light the panel of the right label: {list}",
        "! classify this as one of {list}", "! choose the right label: {list}", "! pick the right class among {list}",
        "? which label fits: {list}", "? is this {or}", "? which one of these is it: {list}",
        "? which of them is it: {list}",
        "! light the right panel: {list}", "! choose the label from {list}", "? which one is it: {list}",
        "! classify the image as {or}", "? does this show {or}",
    ),
    "ood": (
        "! brighten whatever does not belong", "? is anything unusual", "? does anything look strange",
        "? what does not belong", "! find anything out of place", "! spot the anomalies", "! highlight anything odd",
        "! show whatever is out of place", "? is there anything strange", "! brighten what does not belong",
        "! mark whatever looks unusual", "? what looks out of place", "? which things look odd",
        "! point out anything unusual", "? what is strange", ". an anomaly map", "! light up whatever looks strange",
    ),
    "relation": (
        "! show how the {s} relates to the {o}", "? how is the {s} related to the {o}",
        ". the relation of the {s} to the {o}", "! subject {s} in red, object {o} in blue, green tells the relation",
        "? how does the {s} relate to the {o}", "! {s} red, {o} blue, relation green",
        "? what is the relation of the {s} to the {o}", "! tell me how the {s} is related to the {o}",
        "! show the relation of the {s} to the {o}", "! paint the {s} red and the {o} blue and the relation green",
        "? how is the {s} connected to the {o}", "? in what relation is the {s} to the {o}",
        "! find out how the {s} relates to the {o}", ". the relationship of the {s} to the {o}",
        "! subject {s}, object {o}, tell the relation",
    ),
    "whole relation": (
        "? is the {s} {pred} the {o}", "! show the {s} {pred} the {o}", "! find the {s} {pred} the {o}",
        "! tell me whether the {s} is {pred} the {o}", "! locate the {s} that is {pred} the {o}",
        "! find the {s} that is {pred} the {o}", "? is there a {s} {pred} the {o}", "? is a {s} {pred} the {o}",
        "! show me if the {s} is {pred} the {o}", "! find a {s} {pred} a {o}", "! spot the {s} {pred} the {o}",
        "? where is the {s} that is {pred} the {o}", "? where is the {s} {pred} the {o}",
        "! detect the {s} {pred} the {o}",
        "! look for the {s} {pred} the {o}",
    ),
    "open object": (
        "? what is the {s} {pred}", "! tell me what the {s} is {pred}", "! show what the {s} is {pred}",
        "! find what the {s} is {pred}", "? which thing is the {s} {pred}", "? what object is the {s} {pred}",
    ),
    "open subject": (
        "? what is {pred} the {o}", "? who is {pred} the {o}", "! tell me what is {pred} the {o}",
        "! show what is {pred} the {o}", "? which thing is {pred} the {o}", "! find whatever is {pred} the {o}",
    ),
}  # fmt: skip

HELD_OUT: dict[str, tuple[str, ...]] = {
    "segmentation": (
        "! extract {np}", "! shade {np}", "! mark {np}", "! fill in {np}", ". the region of {np}",
        ". the shape of {np}",
        "? which part of the image is {one}",
    ),
    "detection": (
        "! pinpoint {np}", "! mark every {one} with a box", "! frame {np}", ". the positions of {np}",
        "! track down {np}",
        "! show me where {np} {is}",
    ),
    "count": (
        "! tally {np}", "? what number of {many} is there", ". a tally of the {many}",
        "! say how many {many} there are",
    ),
    "depth": (
        ". the range map", "? how distant is everything", "! gauge the depth", "! shade everything by distance",
        "! draw near things dark and far things bright",
    ),
    "depth of": ("! gauge the distance to {np}", ". the range to {np}", "? what distance away {is} {np}"),
    "flag": (
        "? is any {one} present", "? does {a} appear", "! check whether there is {a}", "! say whether you see {a}",
    ),
    "coloured flag": (
        "! turn {yes} if you see {a}, else {no}", "! use {yes} when there is {a} and {no} when there is not",
        "! signal {yes} for {a}, {no} for none",
    ),
    "panel": ("! select the best label from {list}", "! decide between {list}", "? which class suits it: {list}"),
    "ood": (
        "! flag whatever is weird", "? what sticks out", "! make whatever is odd glow", "? which items are not normal",
    ),
    "relation": (
        "! explain how the {s} relates to the {o}", "? what links the {s} to the {o}",
        "! describe the relation of the {s} to the {o}",
    ),
    "whole relation": ("! check whether the {s} is {pred} the {o}", "! pick out the {s} {pred} the {o}"),
    "open object": ("! name what the {s} is {pred}", "! say what the {s} is {pred}"),
    "open subject": ("! name what is {pred} the {o}", "! say what is {pred} the {o}"),
}  # fmt: skip

# Segmentation with colours: one frame is used for all pairs of a sentence, which "and" joins.
PAIR_FRAMES = (
    "paint {np} {colour}", "colour {np} {colour}", "color {np} {colour}", "make {np} {colour}", "mask {np} in {colour}",
    "segment {np} in {colour}", "show {np} in {colour}", "fill {np} with {colour}", "draw {np} in {colour}",
    "highlight {np} in {colour}", "outline {np} in {colour}", "cover {np} with {colour}", "turn {np} {colour}",
    "paint {np} in {colour}", "colour {np} in {colour}",
)  # fmt: skip
PAIR_HELD_OUT = (
    "tint {np} {colour}",
    "dye {np} {colour}",
    "mark {np} in {colour}",
    "shade {np} {colour}",
    "render {np} in {colour}",
)
