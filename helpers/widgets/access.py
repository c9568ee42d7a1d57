"""What ipywidgets leaves out for screen readers: names of sliders, and values that can be read."""

#: A script for the page. In ipywidgets 7.7 and 8.1 the handle of a slider has no name, and its
#: `aria-valuetext` is the number of the option; label and option stand beside it as mere text. The
#: script copies them to the handle and keeps them there, and hides the request to run a cell where
#: its widgets are alive. A page that runs no scripts loses nothing.
SCRIPT = """<script>(() => {
  const set = (node, name, value) =>
    node.getAttribute(name) === value || node.setAttribute(name, value);
  const tell = () => {
    for (const slider of document.querySelectorAll('.widget-hslider, .jupyter-widget-hslider')) {
      const handle = slider.querySelector('.noUi-handle, .ui-slider-handle');
      const text = part => slider.querySelector(part)?.textContent.trim() ?? '';
      if (!handle) continue;
      set(handle, 'role', 'slider');
      set(handle, 'aria-label', text('.widget-label'));
      set(handle, 'aria-valuetext', text('.widget-readout'));
    }
    for (const hint of document.querySelectorAll('.course-unrun')) {
      const output = hint.closest('.jp-OutputArea') ?? document.body;
      hint.hidden = output.querySelector('.jupyter-widgets') !== null;
    }
  };
  if (!window.courseTells) {
    const watched = {subtree: true, childList: true, characterData: true, attributes: true,
                     attributeFilter: ['aria-valuetext']};
    window.courseTells = new MutationObserver(tell);
    window.courseTells.observe(document.body, watched);
  }
  tell();
})()</script>"""

#: What stands below the picture of a laboratory until its cell is run.
UNRUN = (
    '<p class="course-unrun"><strong>This is a picture of the first setting. '
    "Run the cell (Shift+Enter) to move the knobs.</strong></p>"
)
