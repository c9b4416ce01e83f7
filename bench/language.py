"""How often ``dipole.audit.language`` names the language of a sentence: Tatoeba, up to 1000 sentences of each language.

    python -m bench.language ../shared/data/parallel/tatoeba_v1      writes bench/results/language.json

The word lists were written without a corpus, and mended while looking at the sentences of odd lines; the figures are those of even
lines. ``right``: of all sentences of languages it knows; ``sure``: the share it is sure of, and how often it is right about those.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.record import circumstances, write
from dipole.audit.language.identify import identify

# Tatoeba's three letters -> what identify answers; languages that are not here it does not know.
CODES = {
    "afr": "af", "amh": "am", "ara": "ar", "awa": "awa", "aze": "az", "bel": "be", "ben": "bn", "bre": "br", "bul": "bg", "cat": "ca",
    "ceb": "ceb", "ces": "cs", "cmn": "zh", "cym": "cy", "dan": "da", "deu": "de", "ell": "el", "eng": "en", "epo": "eo", "est": "et",
    "eus": "eu", "fin": "fi", "fra": "fr", "fry": "fy", "gla": "gd", "gle": "ga", "glg": "gl", "heb": "he", "hin": "hi", "hrv": "hr",
    "hun": "hu", "hye": "hy", "ido": "io", "ina": "ia", "ind": "id", "isl": "is", "ita": "it", "jav": "jv", "jpn": "ja", "kab": "kab",
    "kat": "ka", "kaz": "kk", "khm": "km", "kor": "ko", "kur": "ku", "lat": "la", "lit": "lt", "lvs": "lv", "mal": "ml", "mar": "mr",
    "mkd": "mk", "mon": "mn", "nld": "nl", "nob": "nb", "pes": "fa", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "slk": "sk",
    "slv": "sl", "spa": "es", "sqi": "sq", "swe": "sv", "swh": "sw", "tam": "ta", "tat": "tt", "tel": "te", "tgl": "tl", "tha": "th",
    "tuk": "tk", "tur": "tr", "uig": "ug", "ukr": "uk", "urd": "ur", "uzb": "uz", "vie": "vi", "war": "war", "xho": "xh",
}  # fmt: skip
COMMON = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "pl", "cs", "ro", "hu", "fi", "tr", "vi", "id", "ru", "uk", "ar", "fa", "hi",
          "el", "he", "ja", "ko", "zh", "th")  # fmt: skip


def sentences(folder: Path, even: bool) -> dict[str, list[str]]:
    """Language -> its sentences on even or odd lines (from 1); English is the other side of the German file."""
    found = {}
    for ours, code in CODES.items():
        path = folder / (f"tatoeba.{ours}-eng.{ours}" if ours != "eng" else "tatoeba.deu-eng.eng")
        lines = path.read_text(encoding="utf-8").splitlines()
        found[code] = [line for number, line in enumerate(lines, 1) if (number % 2 == 0) == even]
    return found


def measured(found: dict[str, list[str]]) -> dict[str, Any]:
    """Accuracy for each language and over groups of languages."""
    each: dict[str, Any] = {}
    for code, lines in found.items():
        guesses = [identify(line) for line in lines]
        sure = [g for g in guesses if g.sure]
        others = Counter(g.code or "none" for g in guesses if g.code != code)
        each[code] = {
            "sentences": len(lines),
            "right": sum(g.code == code for g in guesses) / len(lines),
            "sure": len(sure) / len(lines),
            "right where sure": sum(g.code == code for g in sure) / len(sure) if sure else None,
            "taken for": dict(others.most_common(3)),
        }

    def mean(codes: tuple[str, ...]) -> dict[str, float]:
        sure = sum(each[c]["sure"] * each[c]["sentences"] for c in codes)
        right = sum(each[c]["sure"] * each[c]["sentences"] * (each[c]["right where sure"] or 0.0) for c in codes)
        return {
            "languages": len(codes),
            "right, mean over languages": sum(each[c]["right"] for c in codes) / len(codes),
            "sure, mean over languages": sum(each[c]["sure"] for c in codes) / len(codes),
            "right where sure": right / sure,
        }

    return {"common languages": mean(COMMON), "all known languages": mean(tuple(each)), "each": each}


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--odd", action="store_true", help="the lines that may be looked at; nothing is written")
    arguments = parser.parse_args()
    found = sentences(arguments.folder, even=not arguments.odd)
    start = time.perf_counter()
    result = measured(found)
    seconds = time.perf_counter() - start
    result = {**circumstances(), "microseconds a sentence": 1e6 * seconds / sum(map(len, found.values())), **result}
    for name in ("common languages", "all known languages"):
        print(name, {k: round(v, 3) for k, v in result[name].items()})
    if arguments.odd:
        for code, one in sorted(result["each"].items(), key=lambda item: item[1]["right"]):
            print(code, round(one["right"], 3), round(one["sure"], 3), one["right where sure"], one["taken for"])
    else:
        result["command"] = "python -m bench.language ../shared/data/parallel/tatoeba_v1"
        print(f"written: {write('language.json', result).name}")


if __name__ == "__main__":
    main()
