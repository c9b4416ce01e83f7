"""The language of a text, by small words and scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dipole.audit.language.identify import identify

SENTENCES = {
    "en": "I have never seen what you told me about, and I would like to know more.",
    "de": "Ich habe das noch nie gesehen, und ich möchte gern mehr darüber wissen.",
    "fr": "Je n'ai jamais vu ce que vous avez dit, et je veux en savoir plus.",
    "es": "No sé por qué el libro no está en la mesa, pero yo lo quiero leer.",
    "it": "Non so perché il libro non è sulla tavola, ma io lo voglio leggere.",
    "pt": "Não sei por que o livro não está na mesa, mas eu quero muito ler.",
    "nl": "Ik weet niet waarom het boek niet op de tafel ligt, maar ik wil het lezen.",
    "pl": "Nie wiem, dlaczego tej książki nie ma na stole, ale bardzo chcę ją mieć.",
    "sv": "Jag vet inte varför boken inte är på bordet, men jag vill läsa den.",
    "tr": "Bu kitap neden masada değil, bilmiyorum ama ben onu çok istiyorum.",
    "ru": "Я не знаю, почему книги нет на столе, но я хочу её прочитать.",
    "uk": "Я не знаю, чому книги немає на столі, але я дуже хочу її прочитати.",
    "ar": "لا أعرف لماذا هذا الكتاب ليس على الطاولة ولكن أنا في البيت",
    "fa": "من نمی دانم که چرا این کتاب در خانه نیست اما من آن را می خواهم",
    "hi": "मुझे नहीं पता कि यह किताब मेज पर क्यों नहीं है और वह भी",
    "ja": "どうしてその本がテーブルの上にないのか分かりません。",
    "zh": "我不知道为什么书不在桌子上。",
    "ko": "왜 책이 탁자 위에 없는지 모르겠어요.",
    "el": "Δεν ξέρω γιατί το βιβλίο δεν είναι στο τραπέζι.",
    "he": "אני לא יודע למה הספר לא על השולחן.",
    "th": "ฉันไม่รู้ว่าทำไมหนังสือไม่อยู่บนโต๊ะ",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence(code: str) -> None:
    guess = identify(SENTENCES[code])
    assert (guess.code, guess.sure) == (code, True)


@pytest.mark.parametrize("text", ["", "12 + 3", "...", "zxqv", "AB-12"])
def test_nothing_to_tell_by(text: str) -> None:
    assert not identify(text).sure


def test_most_of_tatoeba(data_folder: Path) -> None:
    """The even lines, which nobody looked at; bench/language.py has the figures by language."""
    from bench.language import COMMON, sentences

    folder = data_folder / "parallel" / "tatoeba_v1"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    right = sure = wrong = total = 0
    found = sentences(folder, even=True)
    for code in COMMON:
        for line in found[code][:100]:
            guess = identify(line)
            total, right = total + 1, right + (guess.code == code)
            sure, wrong = sure + guess.sure, wrong + (guess.sure and guess.code != code)
    assert right / total > 0.9 and sure / total > 0.45 and wrong / sure < 0.01
