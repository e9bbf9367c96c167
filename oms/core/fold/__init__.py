"""The books and what changes them: one fold for each type of event, over records that are rows."""
