"""
Golden values for HTML in texts: the text that Python's html.parser and html.unescape extract, without scripts and styles.

    python3 test/golden/html-text.py

Needs only Python 3.11. Writes html-text.json, rows of [HTML, text]. As in tunesmith, elements that separate texts on the screen leave a
space. Cases are left out if tunesmith keeps what Python drops: addresses, markup that never ends, entities without a semicolon.
"""

import html.entities
import json
from html.parser import HTMLParser
from pathlib import Path

SPACED = {"br", "p", "div", "ul", "li", "td", "h1", "input", "img", "script", "style"}
CASES = [
    "plain text",
    "",
    "<b>bold</b> and <i>it</i>",
    "one<br>two<br/>three<br />four",
    "<p>a</p><p>b</p>",
    "<div class=a>x</div>",
    "<DIV>x</Div>",
    "<a href='x'>l</a>",
    "<a href=x>l</a>",
    "<a href=\"x\">l</a>",
    "<a title=\"x > y\">link</a>",
    "<p title='a>b'>t</p>",
    "<a title=\"it's > 1\">l</a>",
    "<a title='say \"x > y\"'>l</a>",
    "<a\n  title=\"x\n> y\"\n>l</a>",
    "<a title = 'x > y' >l</a>",
    "<input disabled value='>'>x",
    "<a title=\"<b>\">l</a>",
    "<a data-x='&lt;'>l</a>",
    "<img alt='&quot;>'>x",
    "<a title=\"\">l</a>",
    "<a x=a/b>l</a>",
    "<a x=it's>l</a> y='>'",
    "x<br/>y",
    "<x-y>custom</x-y>",
    "<o:p>office</o:p>",
    "<span>fr<b>e</b>e</span>",
    "List&lt;String&gt; names",
    "why is a&lt;b when x and y&gt;0 ?",
    "use &lt;div&gt; tag for layout",
    "x &amp; y &lt;b&gt;",
    "he said &amp;lt;hi&amp;gt; ok",
    "&lt;p&gt;",
    "&lt;p title=&quot;a&gt;b&quot;&gt;",
    "<code>&lt;b&gt;</code>",
    "&amp;amp;amp;",
    "&#38;lt;",
    "&#x26;#60;",
    "&#60;b&#62;",
    "&#x3C;b&#x3e;",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&lt;!-- no comment --&gt;",
    "&am<b>p;</b>",
    "&<i>lt;</i>",
    "<&lt;b>",
    "&lt;<b>x</b>&gt;",
    "a < b",
    "1 < 2 and 3 > 2",
    "I <3 you > me",
    "a > b",
    "x <- y -> z",
    "a << b >> c",
    "if (a<=b) c",
    "<<b>>x",
    "5 <6> 7",
    "AT&T &unknown; & && &; &#; &#x;",
    "a&b=c;d",
    "a<!-- x -->b",
    "a<!-- <b> > -- x -->b",
    "a<!---->b",
    "a<!-- &lt; -->b",
    "a<!-- x --><!-- y -->b",
    "<!-- <script> -->x<!-- </script> -->",
    "<!DOCTYPE html>x",
    "<?xml version='1.0'?>x",
    "a<script>if (a<b && c>d) x('<p>')</script>b",
    "a<script type=x>&lt;</script>b",
    "a<SCRIPT>x</b></Script>b",
    "a<script><!-- x --></script>b",
    "a<style>p > b { color: red }</style>b",
    "a<style>/* <p> */</style><b>b</b>",
    "<script>a</script>&lt;<script>b</script>",
    "<script>'</style>'</script>x<style></script></style>",
    "<scripted>x</scripted>",
    "<ul><li>a<li>b</ul>",
    "<td>1</td><td>2</td>",
    "<h1>Title &mdash; x</h1>text",
    "caf&eacute; na&#239;ve &#x1F600; &#128512;",
    "&#146;&#128;&#153;",
    "&#0; &#xD800; &#x110000;",
    "&#0065; &#x0041; &#X41;",
    "&nbsp;&shy;&zwj;x",
    "&lang;&rang;",
    "&AMP;lt; &LT;b&GT; &QUOT;&COPY;&REG; &eacut;",
    "日本<b>語</b> &copy; 😀<i>😀</i>",
    "tab\t<b>\nline</b>\r\n",
]


class Text(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts = []
        self.raw = False

    def handle_starttag(self, tag, attrs):
        self.raw = tag in ("script", "style")
        if tag in SPACED and not self.raw:
            self.parts.append(" ")

    def handle_startendtag(self, tag, attrs):
        if tag in SPACED:
            self.parts.append(" ")

    def handle_endtag(self, tag):
        self.raw = False
        if tag in SPACED:
            self.parts.append(" ")

    def handle_data(self, data):
        if not self.raw:
            self.parts.append(data)


def text_of(source):
    parser = Text()
    parser.feed(source)
    parser.close()
    return "".join(parser.parts)


cases = CASES + [f"a&{name};b" for name in sorted(html.entities.name2codepoint)]
out = Path(__file__).parent / "html-text.json"
out.write_text("[\n" + ",\n".join(json.dumps([case, text_of(case)], ensure_ascii=False) for case in cases) + "\n]\n")
