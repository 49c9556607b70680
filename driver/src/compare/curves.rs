//! What a page draws of both runs.
