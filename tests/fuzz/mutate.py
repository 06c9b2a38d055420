"""Small changes to texts and bytes, drawn from a seeded generator."""

import re
from collections.abc import Sequence
from random import Random

VOCABULARY = """
cnn param block net input output weights check assert repeat if else in true false and or not import
-> => == != <= >= < > + - * / // % ^ = . , : | ( ) [ ] { } "a.npz" "../x" drop he seed é 漢 # "
"""
PLACES = """
x n N f32 u8 i64 bool conv pool max avg lp weighted global same causal relu add mul id batchnorm
dense flatten reshape concat softmax axis stride pad groups kernel channels shape in i
"""
WORDS = (*VOCABULARY.split(), "\t", "\r", "\0", "\u202e")
NAMES = tuple(PLACES.split())
NUMBERS = ("0", "1", "2", "3", "16", "0.5", "1e300", "2^40", "1e999", "-1", "9" * 18, "2147483647")
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)
LENGTHS = (0, 1, 7, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def mutate_text(random: Random, texts: Sequence[str]) -> str:
    """A text with words replaced, removed, repeated or moved, or bytes of another text in it."""
    text = random.choice(texts)
    pieces = re.findall(r"[^\S\n]+|\n|\w+|->|[=<>!]=|[^\w\s]", text)
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        if not pieces:
            break
        at, other = random.randrange(len(pieces)), random.randrange(len(pieces))
        match random.randrange(14):
            case 0 | 1:
                pieces[at] = random.choice(WORDS)
            case 2:
                pieces[at] = pieces[other]
            case 3:
                del pieces[at : at + random.choice((1, 1, 2, 20))]
            case 4:
                pieces.insert(at, random.choice((*WORDS, pieces[other])))
            case 5:
                pieces[at], pieces[other] = pieces[other], pieces[at]
            case 6:
                pieces[at] *= random.choice((2, 3, 300))
            case 7:
                strange = random.choice(texts)
                start = random.randrange(len(strange))
                pieces.insert(at, strange[start : start + random.randrange(200)])
            case _:
                # A word of the same sort, so that many of these still parse.
                words = [place for place, each in enumerate(pieces) if each[:1].isalnum()]
                if words:
                    at = random.choice(words)
                    same = (
                        NUMBERS
                        if pieces[at][0].isdigit()
                        else (*NAMES, pieces[random.choice(words)])
                    )
                    pieces[at] = random.choice(same)
    return "".join(pieces)


def mutate_bytes(random: Random, data: bytes) -> bytes:
    """Bytes changed, removed, repeated, cut off, or a number among them replaced by an extreme."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        if not changed:
            break
        # Headers, where most of the sense is, are hit as often as all the rest.
        reach = len(changed) if random.random() < 0.5 else min(len(changed), 160)
        at = random.randrange(reach)
        match random.randrange(8):
            case 0 | 1:
                changed[at] ^= 1 << random.randrange(8)
            case 2:
                changed[at] = random.choice(EXTREMES)
            case 3:
                changed[at] = random.randrange(256)
            case 4:
                del changed[at : at + random.choice((1, 2, 4, 64))]
            case 5:
                changed[at:at] = changed[at : at + random.choice((1, 4, 64))]
            case 6:
                width = random.choice((2, 4, 8))
                number = random.choice(LENGTHS) % (1 << 8 * width)
                order = random.choice(("little", "big"))
                changed[at : at + width] = number.to_bytes(
                    width, "big" if order == "big" else "little"
                )
            case 7:
                del changed[random.randrange(len(changed)) :]
    return bytes(changed)
