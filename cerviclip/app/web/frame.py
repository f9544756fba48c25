"""What all pages share: navigation, language, the chosen run, and the notice on research use."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from cerviclip.app.web.models import Model, title_of
from cerviclip.app.web.settings import WebSettings
from cerviclip.app.web.texts import LANGUAGES, Texts, language_of
from cerviclip.app.web.views import batch, guide, predict, results, review
from dassl.errors import UserError

VIEWS = {
    "predict": (predict.show, ":material/biotech:"),
    "batch": (batch.show, ":material/table_rows:"),
    "results": (results.show, ":material/monitoring:"),
    "guide": (guide.show, ":material/menu_book:"),
    "review": (review.show, ":material/rate_review:"),
}
#: Streamlit fades captions, icons, names of keys and the words of charts to a contrast of 3.9:1
#: and less. 4.5:1 is asked for (WCAG 1.4.3). Words inside bars keep their own colours.
CONTRAST = """<style>
[data-testid="stCaptionContainer"], [data-testid="stImageCaption"], figcaption,
[data-testid="stCaptionContainer"] *, [data-testid="stImageCaption"] *, figcaption *,
[data-testid="stSliderThumbValue"], [data-testid="stSliderThumbValue"] *,
[data-testid="stSidebarNavLink"] *, [data-testid="stFileUploader"] :is(button, button *),
button kbd { color: inherit !important; opacity: 1 !important; }
[data-testid="stTable"] td [data-testid="stMarkdownContainer"]
{ overflow: visible !important; max-height: none !important; }
[data-testid="stTable"] td p
{ overflow-wrap: anywhere !important; white-space: normal !important; word-break: normal; }
.js-plotly-plot :is(.xtick, .ytick, .g-xtitle, .g-ytitle, .legendtext) text,
.js-plotly-plot text:is(.xtitle, .ytitle, .legendtext, .bartext-outside)
{ fill: currentColor !important; }
[data-testid="stCaptionContainer"] a { text-decoration: underline; }
</style>"""


@dataclass
class Page:
    """What a view works with.

    Attributes:
        settings: of the server.
        t: strings in the reader's language.
        run: folder of the chosen run; "" for none.
    """

    settings: WebSettings
    t: Texts
    run: str = ""

    def model(self) -> Model | None:
        """The chosen run, loaded once for all sessions; None where the server has none."""
        if not self.run:
            return None
        with st.spinner(self.t("loading")):
            return _model(self.run, self.settings.to_json())

    def need_model(self) -> Model:
        """As `model`.

        Raises:
            UserError: the server has none.
        """
        model = self.model()
        if model is None:
            raise UserError(self.t("no_model"))
        return model


@st.cache_resource(show_spinner=False, max_entries=8)
def _model(folder: str, settings: str) -> Model:
    return Model.load(folder, WebSettings.from_json(settings))


def show(settings: WebSettings) -> None:
    """The whole page, once for each visit, press or choice."""
    texts = Texts(_language(settings))
    st.set_page_config(page_title="CerviCLIP", page_icon=":material/biotech:", layout="wide")
    st.html(CONTRAST)
    page = Page(settings, texts)

    def runner(name: str):
        return lambda: show_view(page, name)

    pages = [
        st.Page(runner(name), title=texts(f"page_{name}"), icon=icon, url_path=name,
                default=name == "predict")
        for name, (_, icon) in VIEWS.items()
    ]  # fmt: skip
    chosen = st.navigation(pages, position="sidebar")
    _sidebar(page)
    chosen.run()


def show_view(page: Page, name: str) -> None:
    """One page under the notice; what a user can correct is one line."""
    st.title(page.t(f"page_{name}"))
    st.info(page.t("research_only"), icon=":material/science:")
    try:
        model = page.model() if name in ("predict", "batch", "review") else None
        if model is not None and model.phantom:
            st.warning(page.t("phantom_model"), icon=":material/blur_on:")
        VIEWS[name][0](page)
    except UserError as error:
        st.error(str(error))


def _language(settings: WebSettings) -> str:
    """The reader's choice, else the link's, else the server's, else the browser's."""
    asked = st.session_state.get("language") or st.query_params.get("lang", "")
    if asked not in LANGUAGES:
        asked = settings.language or language_of(st.context.locale)
    st.session_state["language"] = asked
    return asked


def _sidebar(page: Page) -> None:
    t, settings = page.t, page.settings
    with st.sidebar:
        st.selectbox(t("language"), list(LANGUAGES), format_func=LANGUAGES.get, key="language")
        st.query_params["lang"] = st.session_state["language"]
        if settings.runs:
            page.run = st.selectbox(t("run"), settings.runs, format_func=title_of, key="run_kept")
            st.caption(title_of(page.run))  # the list cuts long names
            if settings.demo:
                st.caption(t("demo_model"))
        st.caption(t("research_only"))
