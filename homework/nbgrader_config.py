"""The settings of the course: labs run shut in, also from nbgrader's own commands and its Formgrader."""

from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearOutput,
    DeduplicateIds,
    LimitOutput,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
)

from dgm_helpers.sandbox import RunShutIn

c = get_config()  # noqa: F821, nbgrader provides it

c.CourseDirectory.course_id = "dgm"
# students are graded side by side, and wait for one another to write
c.CourseDirectory.db_url = "sqlite:///gradebook.db?timeout=60"

c.Autograde.sanitize_preprocessors = [
    ClearOutput,
    DeduplicateIds,
    OverwriteKernelspec,
    OverwriteCells,
    CheckCellMetadata,
]
c.Autograde.autograde_preprocessors = [RunShutIn, LimitOutput, SaveAutoGrades, CheckCellMetadata]
