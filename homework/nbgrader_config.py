from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearOutput,
    DeduplicateIds,
    OverwriteCells,
    OverwriteKernelspec,
)

c = get_config()  # noqa: F821, nbgrader provides it

c.CourseDirectory.course_id = "dgm"
c.Execute.timeout = 300  # seconds for one cell
# seconds to stop after that; with the default of 4 a busy machine loses the whole submission
c.Execute.iopub_timeout = 60

# downloaded/hw3/archive/HW_[Lastname]_[StudentNumber].zip goes to submitted/[StudentNumber]/hw3/;
# files that are no lab are skipped
c.FileNameCollectorPlugin.named_regexp = (
    r".*[/\\](?i:hw)_[^/\\]+_(?P<student_id>\d+)[/\\](?:.*[/\\])?(?P<file_id>[^/\\]+)\.ipynb"
)
c.ZipCollectApp.strict = True


class CopiedCells(DeduplicateIds):
    """The last of two copies of a cell counts; nbgrader 0.9.6 stops there, github.com/jupyter/nbgrader/issues/1083."""

    def preprocess_cell(self, cell, resources, index):
        cell, resources = super().preprocess_cell(cell, resources, index)
        if cell.metadata.get("nbgrader") == {}:
            del cell.metadata["nbgrader"]
        return cell, resources


c.Autograde.sanitize_preprocessors = [
    ClearOutput,
    CopiedCells,
    OverwriteKernelspec,
    OverwriteCells,
    CheckCellMetadata,
]
