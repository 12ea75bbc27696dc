"""A run, or several beside each other, as one HTML file: from run directories, without torch; read without network."""

from pixeltui.report.comparison import comparison_page
from pixeltui.report.page import run_page
from pixeltui.report.story import Story, read_story

__all__ = ["Story", "comparison_page", "read_story", "run_page"]
