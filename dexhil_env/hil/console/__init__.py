"""The browser console: a small web server beside the environment, and the one page that it serves."""
