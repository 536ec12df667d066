# Sourced by tests/test_*.sh after tap.sh: pages in headless Chromium.
#
#     browser_found || skip "in a browser" "$browser_missing"
#     ok "fits" fits page.html        page.html, in $WORK: neither it nor any element outside tables
#                                     that scroll is wider than 360 and 1200 pixels
#     ok "no errors" quiet            of the page that was looked at last

browser= browser_missing="no Chromium that starts"

headless() {
    timeout 60 "$browser" --headless=new --no-sandbox --disable-gpu --hide-scrollbars \
        --allow-file-access-from-files \
        --user-data-dir="$WORK/browser" --enable-logging=stderr "$@"
}

browser_found() {
    for name in chromium chromium-browser google-chrome; do
        if [ -z "$browser" ] && command -v $name > /dev/null; then browser=$name; fi
    done
    echo '<p>here' > "$WORK/try.html"
    [ -n "$browser" ] && headless --dump-dom "file://$WORK/try.html" 2> /dev/null | grep -q here
}

# For 360 and 1200 pixels: how wide the page is in them, and how many elements stick out.
widths() {
    cat > "$WORK/frame.html" << END
<body><iframe src="$1" style="width:360px;height:800px"></iframe><iframe src="$1" style="width:1200px;height:800px"></iframe>
<p id=said></p><script>
onload = () => {
  for (const frame of document.querySelectorAll('iframe')) {
    const page = frame.contentDocument, width = frame.contentWindow.innerWidth;
    const out = [...page.body.querySelectorAll('*')].filter(e => !e.closest('.scroll table') && !e.closest('svg svg')
                    && !e.closest('title') && e.getBoundingClientRect().right > width + 1);
    said.textContent += 'width ' + width + ' needs ' + page.documentElement.scrollWidth + ' out ' + out.length + '; ';
  }
};
</script>
END
    headless --dump-dom "file://$WORK/frame.html" 2> "$WORK/browser.log" \
        | sed -n 's/.*<p id="said">\([^<]*\)<.*/\1/p'
}

fits() {
    widths "$1" > "$WORK/widths.txt"
    cat "$WORK/widths.txt" "$WORK/browser.log"
    grep -qx 'width 360 needs 360 out 0; width 1200 needs 1200 out 0; ' "$WORK/widths.txt"
}

quiet() { ! grep -q CONSOLE "$WORK/browser.log"; }
