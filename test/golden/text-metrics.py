"""Generated texts, plain and unusual, and their metrics from the reference libraries:

    pip install sacrebleu==2.6.0 rouge_score==0.1.2 && python test/golden/text-metrics.py

writes test/golden/text-metrics.json (BLEU, chrF and chrF++ from sacrebleu, ROUGE from rouge_score with its stemmer, stems from NLTK)."""

import json
import random
from pathlib import Path

from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

random.seed(7)

PLAIN = [
    (["The cat sat on the mat."], "The cat sat on a mat."),
    (["It is raining cats and dogs today, isn't it?"], "It rains cats and dogs today, does it not?"),
    (["A large vehicle that carries many passengers"], "a vehicle carrying many passengers"),
    (["He was flying to the U.S. on 3.5 hours of sleep."], "He flew to the U.S. after 3.5 hours of sleep."),
    (["one two three four five six"], "one two three four five six"),
    (["the generalizations of nationalities happily agreed"], "generalized nationality happiness agreeing"),
]

NASTY = [
    ([""], ""),
    (["something"], ""),
    ([""], "something"),
    (["   "], "\t\n"),
    (["word"], "word"),
    (["a b c"], "a b c"),
    (["猫が好きです。犬も好き。"], "猫が好きだ。犬は嫌い。"),
    (["我喜欢 吃苹果,你呢?"], "我喜欢吃 苹果,他呢?"),
    (["😀😃 family 👩‍👩‍👧 flag 🇩🇪!"], "😀 family 👩‍👩‍👧 flags 🇩🇪 🇫🇷!"),
    (["Ünïcödé — “quotes” … and ‘more’"], "Unicode - \"quotes\" ... and 'more'"),
    (["line one\nline two, longer\n\nline three"], "line two\nline one, longer still\nthe end"),
    (["cut-\nhere and <skipped> there &amp; &quot;so&quot; &lt;on&gt; &amp;lt;"], "cuthere and there & \"so\" <on> &lt;"),
    (["1,000.50 costs 3-4 $ (or 5.) and .5,6,"], "1,000.50 cost 3 - 4 $ (or 5) and 0.5, 6"),
    (["x.y,z. .a ,b 1.a a.1 1,,2 ..."], "x.y , z . .a,b 1.a a.1 1,2 ..."),
    (["\u00a0non\u00a0breaking\u2003em\u3000ideographic\ufeffbom\u200bzero"], "non breaking em ideographic bom zero"),
    (["fs\u001cgs\u001drs\u001eus\u001fnel\u0085end"], "fs gs rs us nel end"),
    (["trailing spaces and a stop . \u0085\u001f "], "trailing spaces and a stop ."),
    (["(hi) 'quoted' #tag @you [x] {y} ~z^ _u_ `v` a/b c\\d e|f"], "(hi 'quoted #tags @me [x]{y}~z^_u_`v`a/b c\\d e|f"),
    (["ÅNGSTRÖM İstanbul STRASSE ﬁne K"], "ångström istanbul straße fine k"),
    (["a a a a a a"], "a a a"),
    (["a b a b a b"], "b a b a b a b a"),
    (["\U0001d54f.\U0001d54f,\U0001d54f 5.\U0001d54f"], "\U0001d54f. \U0001d54f , \U0001d54f 5 .\U0001d54f"),
    (["ab" * 40], "ba" * 39),
    (["skies dying lying tying news innings outings cannings howe proceed exceed succeed"], "sky die lie tie new inning outing canning how proceeding exceeds succeeded"),
]

SEVERAL = [
    (["The cat sat.", "A cat was sitting here.", "Cat."], "The cat was sitting."),
    (["one two three", "one two three four five"], "one two three four"),
    (["one two three four five", "one two three"], "one two three four"),
    (["x y", "y x", ""], "x y x"),
    (["first\nsecond line", "second\nfirst line"], "second line\nfirst"),
]

VARYING = [PLAIN[0], SEVERAL[0], NASTY[1], SEVERAL[1], PLAIN[3]]

WORDS = "the a of in to man men woman run runs running ran quick quickly brown fox jump jumped over lazy dog dogs , . ; cat's 12 3.5".split()


def noise(count):
    """Sentences from few words, some of which the output changes: long common n-grams, and repeated ones."""
    rows = []
    for _ in range(count):
        lines = [[random.choice(WORDS) for _ in range(random.randint(1, 14))] for _ in range(random.randint(1, 3))]
        changed = [[w if random.random() < 0.7 else random.choice(WORDS) for w in line if random.random() < 0.9] for line in lines]
        random.shuffle(changed)
        rows.append((["\n".join(" ".join(line) for line in lines)], "\n".join(" ".join(line) for line in changed)))
    return rows


TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
scorer = RougeScorer(TYPES, use_stemmer=True)


def judged(rows):
    predicted = [said for _, said in rows]
    width = max(len(real) for real, _ in rows)
    streams = [[real[k] if k < len(real) else None for real, _ in rows] for k in range(width)]
    metrics = {"bleu": BLEU(), "chrf": CHRF(), "chrf++": CHRF(word_order=2)}
    scores = {name: metric.corpus_score(predicted, streams) for name, metric in metrics.items()}
    values = {name: score.score for name, score in scores.items()}
    rouge = [scorer.score_multi(real, said) for real, said in rows]
    for kind in TYPES:
        values[kind] = sum(score[kind].fmeasure for score in rouge) / len(rows)
    values["exact_match"] = sum(said in real for real, said in rows) / len(rows)
    signatures = {name: str(metric.get_signature()).rsplit("|version", 1)[0] for name, metric in metrics.items()}
    bleu = scores["bleu"]
    return {
        "rows": [{"references": real, "predicted": said} for real, said in rows],
        "values": values,
        "signatures": signatures,
        "bleu": {"brevity_penalty": bleu.bp, "length": bleu.sys_len, "reference_length": bleu.ref_len},
    }


ROOTS = "sky fly cri agre rel hopp tann fall hiss fizz fil fail happ enjo condit valenc digit conform radic differ vile analog vietnam predic operat feud decis hope call form sens trip electr good reviv allow infer airlin gyroscop adjust defens irrit replac depend adopt homolog commun activ angular effect bowdler prob ceas controll roll geo theo b y oy syzyg x9 4th yyy".split()
SUFFIXES = " s es ies sses ied ed eed ing ated izing bled y ly al ally alli ational tional enci anci izer bli abli entli eli ousli ization ation ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness ance ence er ic able ible ant ement ment ent ion sion tion ou ism ate iti ous ive ize e ll lle".split(" ")
stemmer = PorterStemmer()
words = sorted({root + suffix for root in ROOTS for suffix in SUFFIXES} | set("skies dying lying tying news inning innings outing outings canning cannings howe proceed exceed succeed a by".split()))
tokenizer = Tokenizer13a()

golden = {
    "corpora": [judged(rows) for rows in [PLAIN, NASTY, SEVERAL, VARYING, noise(40), PLAIN + NASTY]]
    + [judged([row]) for row in PLAIN + NASTY + SEVERAL],
    "tokens": [[text, tokenizer(text.rstrip()).split()] for real, said in PLAIN + NASTY for text in [*real, said]],
    "stems": " ".join(f"{word}:{stemmer.stem(word)}" for word in random.sample(words, 2500)),
}
(Path(__file__).parent / "text-metrics.json").write_text(json.dumps(golden, ensure_ascii=True) + "\n")
