"""nsys_database.py FILE: writes a small database such as nsys export --type sqlite makes, of two
steps of two blocks. Teacher a takes 3 us, student a 5 forward, 11 backward (on a thread without
ranges) and 2 to update; b takes 10 times that."""
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.executescript("""
CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT);
CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, eventType INTEGER, text TEXT, textId INTEGER,
    globalTid INTEGER);
CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, end INTEGER, globalTid INTEGER,
    correlationId INTEGER, nameId INTEGER);
CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, deviceId INTEGER,
    globalPid INTEGER, correlationId INTEGER, shortName INTEGER);
CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER, end INTEGER, deviceId INTEGER,
    globalPid INTEGER, correlationId INTEGER, copyKind INTEGER);
CREATE TABLE TARGET_INFO_GPU (id INTEGER, name TEXT, totalMemory INTEGER);
INSERT INTO StringIds VALUES (1, 'gemm'), (2, 'teacher:a'), (3, 'ncclDevKernel_AllReduce');
INSERT INTO TARGET_INFO_GPU VALUES (1, 'NVIDIA Z', 1073741824);
""")
pid = 77 << 24
main, backward, corr, t = pid | 5, pid | 6, 0, 1000000
def range_(name, start, end):
    by_id = 2 if name == 'teacher:a' else None
    db.execute("INSERT INTO NVTX_EVENTS VALUES (?, ?, 59, ?, ?, ?)", (start, end, None if by_id
                                                                      else name, by_id, main))
def launch(thread, at, ns, table='KERNEL', last=1):
    global corr
    corr += 1
    db.execute("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, ?, 0)", (at, at + 200,
                                                                                  thread, corr))
    db.execute("INSERT INTO CUPTI_ACTIVITY_KIND_%s VALUES (?, ?, 1, ?, ?, ?)"
               % table, (at + 5000, at + 5000 + ns, pid, corr, last))
for step in range(2):
    launch(main, t + 100, 700, 'MEMCPY', 1)
    for i, name in enumerate('ab'):
        f = 10 ** i * 1000
        range_('teacher:' + name, t + 1000, t + 2000); launch(main, t + 1100, 3 * f)
        range_('student:' + name, t + 3000, t + 9000); launch(main, t + 3100, 5 * f)
        launch(backward, t + 5000, 11 * f)
        range_('Optimizer.step#SGD.step', t + 7000, t + 8000); launch(main, t + 7100, 2 * f)
        t += 10000
    launch(main, t + 100, 900, 'KERNEL', 3)
    t += 1000
db.commit()
