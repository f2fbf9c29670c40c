"""Words that turn a sentence with a cue into one about something else, as regular expressions for its words.

`cues` tries them on the words around the list of classes, for which CLASS stands; THE stands for articles before it.
Light words are free to stand anywhere else, so a pattern says only where they change what is asked. The module holds
tables only.
"""

from __future__ import annotations

__all__ = ["ANOTHER_MEANING"]

_THING = "(?:box|boxes|rectangles?|frames?|tags?|corners?|stickers?|borders?|edges?)"
_SOUGHT = "(?:find|found|spot|locate|detect|seek|pinpoint|(?:look|looking|search|searching|hunt) for|(?:where|there) "
_SOUGHT += "(?:is|are)|(?:is|are) there)"
_PUT = "(?:put|draw|place|drop|set|add|attach|lay|make|print|plot|sketch|render|display)"
_LEAVE = "(?:leave|drop|keep|keeps|kept|take|send|set)"
_WITH_OBJECT = "see|have|use|like|love|want|need|know|view|show|make|get|keep|find|look|bring|hold|carry|cover"
_GOING = "go|goes|going|look|looks|looking|come|comes|put|place|make|makes|made|live|lives|did|was"
_STATE = "(?:exact|precise|accurate|full|complete|rough|good|nice|quick|proper|correct|clean|sharp|detailed|actual|"
_STATE += "expert|happy|glad|sorry|interested|curious|keen|able|thankful|grateful|pleased|delighted|alright|okay|well|"
_STATE += "right|live|left over|wanted|needed|loved|shown)"
_DRAWN = "(?:detections?|locations?|positions?|distances?|depths?|bounding|boxes|"
_DRAWN += "mask|matte|cut-?out|cut out|silhouette|outline|contour|stencil|segmentation|shape|box|count|number)"
_HELD = "(?:contains?|includes?|features?|depicts?|portrays?)"
_THERE = "(?:appears?|shows?|occurs?|exists?|turns? up)"
_SEEN = "(?:(?:i|you|we|one) (?:(?:can|could|may|might) )?(?:see|find|spot|detect|count|make out)|there (?:is|are)|"
_SEEN += "(?:is|are) (?:in|on|inside) (?:the|this|that) (?:picture|image|photo|photograph|scene|frame|shot)|"
_SEEN += f"(?:is|are|(?:can|could|may|might) be) (?:here|there|seen|found|shown|present|visible|in view)|{_THERE})"
_COUNTED = "(?:how many|headcount of|tally of|count|number of)"
_ACT = "(?:stand|sit|walk|live|stay|go|come|look|know|think|wonder|want|need|like|love|wish|hope|use|try|work|help|"
_ACT += "reach|keep)(?:s|es|ed|d|ing)?"
_AUX = "(?:do|does|did|can|could|may|might|will|would|should|must|shall)"
_WHO = "(?:i|we|you|they|it|one)"
_UNIT = "(?:centimetres|metres|meters|feet|steps|paces|yards|miles)"
_MOVE = "(?:go|walk|look|see|reach|get|come)"
_CUT = "(?:segment|mask|isolate|separate|select|shade)"

_OWN = (
    "(?:case|pass|print|set|stands?|covers?|show|place|order|tag|clip|frame|corner|edge|box|name|number|shade|sticker)"
)
_PART = "(?:hand|name|make|look|order|case|set|shade|edge)"

ANOTHER_MEANING = (
    # of another thing: "the pizza box", "the hand of the person", "the phone number"
    f"(?:{_SOUGHT}|{_CUT}|far is) THECLASS {_OWN}(?= $)",
    "^(?:(?! [^ ]+ing ).)* CLASS number(?= $)",
    "(?:what|which) number(?! of)",
    f"{_PART} of THECLASS",
    # some of the class: its state, what it does or wears, or how far it is
    f"CLASS (?:(?:is|are|was|were|(?:will|would|should) be) )(?:[^ ]+ )?(?!right (?:here|there)|shown){_STATE}",
    "CLASS (?:(?:is|are) )?(?:looking|going)(?! for)",
    "(?:unusual|strange|odd|weird|bizarre|peculiar|anomalous|abnormal|suspicious|unfamiliar|unexpected|wrong) CLASS",
    "CLASS (?:is|are) (?:isolated|masked|cropped|clipped)",
    "(?:give|gives|make|makes) THE?(?:shade|shape|frame)",
    "what THECLASS (?:see|want|need|like|love|know|think)s?",
    f"(?:{_SOUGHT}|which|any|me) THE(?:masked|isolated|cropped|clipped|shaded|framed|boxed|tagged) ?CLASS",
    f"(?:{_SOUGHT}|which) THECLASS (?:(?:that|which) )?(?:(?:is|are) )?far",
    f"{_COUNTED} THECLASS (?:(?:can|could) )?see",
    # advice, or a way that was gone
    "(?:how (?:far|close|near)|where) (?:should|shall|must|will|ought|would) THECLASS",
    "how (?:far|close|near) (?:should|shall|must|may|ought) (?:i|we|you|one)",
    "how (?:far|close|near)[^,]* CLASS (?:should|shall|must|ought)",
    "how far up",
    f"how (?:far|close|near) (?:{_AUX}|has|have|had) THECLASS (?:run|come|turn|reach|get|{_MOVE})",
    # a thing on or of the class, or what is around it
    f"{_SOUGHT} THE{_THING}(?! (?:around|round))",  # "find the tag of the suitcase": the tag is meant
    "(?:mark|select) THE(?:tag|sticker)s?",
    f"^(?:(?! {_PUT} ).)* {_THING} (?:on|over|onto)",  # "the box on the table", but "draw a box on the table"
    f"{_CUT} THE(?:edges?|borders?|boundary|boundaries|perimeter|stickers?|corners?)",
    "(?:area|region|pixel|part|bit|extent|footprint)s? (?:around|round|over|about) THECLASS",
    "(?:part|bit)s? of THECLASS",
    "(?<!bounding )box of CLASS",  # one that holds them, but "the box of the dog"
    "CLASS (?:have|has|had)(?! (?:i|we|you|been|come|gone))",  # "what features does the dog have"
    # some that are like another, or that somebody knows or needs
    "CLASS (?:(?:that|which) (?:is|are) )?like",
    f"CLASS {_WHO} (?:know|love|like|want|need|use|think|keep|mean|wish|hope)s?",
    f"CLASS to {_ACT}",
    "CLASS (?:made|able|while (?:they|it))",
    # left out
    f"{_LEAVE} (?:THECLASS|it|them) (?:out|off|away|from)",  # "leave the car out of the mask"
    f"{_LEAVE} (?:out|off|away)",
    "count (?:me|us) out",
    # only some of the class: a number, a state, a clause, or what they do
    "(?<! every )(?<! each )(?:one|single) (?:of (?:the|these|those) )?CLASS",  # a cue has no room for a number
    f"{_STATE} CLASS(?! {_DRAWN})",  # "the full bottles", but "a clean dog mask"
    f"{_COUNTED}(?: [^ ]+)* (?:whole|entire) CLASS",
    "^ (?:is|are|do|does) THE(?:whole|entire) CLASS",
    f"CLASS (?:that|which)(?! {_SEEN})",  # "the people that walk", but "the people that you see"
    f"{_COUNTED} THECLASS (?:(?:{_AUX}|are) )?(?!(?:live|stay)s? (?:here|there) ){_ACT}",  # "live here": are here
    f"{_COUNTED} THECLASS (?:can|could|may|might|would|should) (?:live|stay)",
    f"{_COUNTED} THECLASS (?:is|are|were) (?:away|off|up|out)(?! there)",
    f"{_COUNTED} THECLASS will",
    f"{_COUNTED} THECLASS {_AUX} {_WHO} (?:need|want|like|love|wish|use|keep|bring|know|expect)",
    f"{_COUNTED} THECLASS (?:can|could|may|might|will|would) {_WHO} (?:have|get|make(?! out))",
    f"{_COUNTED} THECLASS (?:should|must|ought)",
    f"how many (?:{_WITH_OBJECT})",  # "how many see the dog"
    f"(?:{_HELD} (?:only|just|exactly)|(?:only|just|exactly) {_HELD})",
    f"(?:only|just) THECLASS (?:(?:is|are) )?(?:{_THERE}|present)",
    # what it is like, does or is for
    f"(?:appear|seem|look|stay)(?:s|ing)? (?:[^ ]+ )?{_STATE}",
    "(?:unusual|strange|odd|weird|wrong) (?:for|that) THECLASS",
    "(?:what|which|who|whom|i|we|you) belongs? here",
    "(?:what|which) (?:shapes? (?:is|are)|order)",
    "(?:kind|sort)s? of THECLASS",
    "(?:purpose|job|use) of",
    "how much (?:space|room) (?:do|does|did) THECLASS",
    "(?:what|who|whom) (?:do|does|did|can|will|would) THECLASS",  # "what does the dog detect"
    "(?:what|who|whom) (?:is|are|was|were) THECLASS (?!bounding )[^ ]+ing",
    # "is the dog hiding", but "where is the dog hiding"
    "^ (?:is|are|was|were) THECLASS (?!detected|depicted|pictured|displayed)[^ ]+(?:ing|ed)",
    "^(?:(?! i | we ).)* [^ ,]+ looking for",  # "what is the dog looking for", but "i am looking for the dog"
    # another way, place or time
    f"how far {_AUX} THECLASS {_MOVE}",  # "how far does the bus go"
    f"how (?:far|close|near) (?:can|could|may|should) {_WHO} {_MOVE}",
    f"how many {_UNIT} (?:{_AUX} THECLASS {_MOVE}|of THECLASS)",
    f"where(?=[^,]* CLASS )[^,]* (?:{_GOING})(?! for)",  # "where is the car going"
    "where[^,]* CLASS (?:(?:is|are) )?(?:from|up|off|out|to)(?! (?:here|there|me|us))",
    f"where (?:can|could|may|do|should) {_WHO} (?:get|have|bring|take|keep|use)",
    "when (?:did|do|does|is|are|was|were|has|have|had|will|can|could|would|should|THECLASS)",
    "if so (?:, )?(?:how(?! many)|.*(?:depth|distance|range))",  # whether it is there is asked before
)
