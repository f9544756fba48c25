"""The page ``cerviclip web`` (Streamlit): thin views over plain modules. Research use only."""
