c = get_config()  # noqa: F821, nbgrader provides it

c.CourseDirectory.course_id = "dgm"
c.Execute.timeout = 300  # seconds for one cell

# downloaded/hw3/archive/HW_[Lastname]_[StudentNumber].zip goes to submitted/[StudentNumber]/hw3/; files that are no lab are skipped
c.FileNameCollectorPlugin.named_regexp = r".*[/\\](?i:hw)_[^/\\]+_(?P<student_id>\d+)[/\\](?:.*[/\\])?(?P<file_id>[^/\\]+)\.ipynb"
c.ZipCollectApp.strict = True
