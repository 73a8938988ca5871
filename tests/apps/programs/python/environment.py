# time: 120
"""A virtual environment with a package of its own, and a program that is run from a zip file."""

import pathlib
import subprocess
import sys
import venv
import zipapp

venv.create("env", symlinks=True)
site = next(pathlib.Path("env/lib").iterdir()) / "site-packages"
(site / "ours.py").write_text("ANSWER = 42\n")
code = "import sys, ours; print(ours.ANSWER, sys.prefix != sys.base_prefix, sys.prefix.endswith('env'))"
print(subprocess.check_output(["env/bin/python", "-c", code]))
print(subprocess.call(["env/bin/python", "-m", "compileall", "-q", str(site)]), len(list(site.rglob("*.pyc"))))
pathlib.Path("app").mkdir()
pathlib.Path("app/main.py").write_text("def run():\n    import sys\n    print('zip', sys.argv[1:])\n")
zipapp.create_archive("app", "app.pyz", main="main:run", interpreter=sys.executable)
print(subprocess.check_output(["./app.pyz", "a"]))
pathlib.Path("broken.py").write_text("import sys\nsys.setrecursionlimit(100)\ndef f(): f()\nf()\n")
print(subprocess.run([sys.executable, "broken.py"], capture_output=True, text=True).stderr.splitlines()[-1])
