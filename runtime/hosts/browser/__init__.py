"""The browser under Pyodide: WebGPU, IndexedDB and the JavaScript tokenizer, behind the protocols of host.py.

The JavaScript halves lie in web/worker/; the worker gives them to Python as the module `shaderlm_browser`.
"""
