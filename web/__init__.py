"""The browser's side: the page, its JavaScript face, the worker that runs Pyodide, and the policy of the site."""
