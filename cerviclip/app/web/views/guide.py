"""Page "Guide": what guidelines state on screening for an age, with source and date."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cerviclip.app.web.guide import Rule, read_guide, rules_for


def show(page: Any) -> None:
    """Choose an age, compare the guidelines."""
    t = page.t
    st.warning(t("guide_no_advice"))
    age = st.slider(t("age"), 15, 90, 30)
    for rule in rules_for(age, t.language):
        _rule(page, rule)
    _management(page)
    st.caption(t("guide_checked", date=str(read_guide()["checked"])))


def _rule(page: Any, rule: Rule) -> None:
    t = page.t
    ages = t("ages_from", start=rule.start) if rule.to is None else (
        t("ages_below", to=rule.to + 1) if rule.start == 0
        else t("ages", start=rule.start, to=rule.to)
    )  # fmt: skip
    with st.container(border=True):
        st.subheader(rule.title)
        if rule.caution:
            st.warning(rule.caution)
        st.markdown(f"**{ages}:** {rule.text}")
        st.write(rule.note)
        link = f" [{rule.url}]({rule.url})" if rule.url else ""
        st.caption(f"{t('source')} {rule.source}{link} {t('of_date', date=rule.date)}")


def _management(page: Any) -> None:
    t, block = page.t, read_guide()["management"]
    language = t.language
    with st.container(border=True):
        st.subheader(block["title"][language])
        st.write(block["intro"][language])
        risk, what = t("estimated_risk"), t("usual_next_step")
        st.table([{risk: r["risk"][language], what: r["what"][language]} for r in block["rows"]])
        link = f"[{block['url']}]({block['url']})"
        st.caption(f"{t('source')} {block['source']} {link} {t('of_date', date=block['date'])}")
