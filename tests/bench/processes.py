"""processes - programs of the build, started for a measurement and stopped behind it"""
import atexit, os, signal, socket, subprocess, tempfile, time

PROCESSES = []
WORK = tempfile.mkdtemp(prefix='weft-bench-')  # logs, configurations; whoever uses this removes it


@atexit.register
def tidy():
    """Where nothing was started there is nothing to keep."""
    try:
        os.rmdir(WORK)
    except OSError:
        pass


def say(text=''):
    print(text, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def program(build, name):
    for folder in ('tests', 'broker', 'gateway', 'handlers/echo', 'proto/cli', '.'):
        path = os.path.join(build, folder, name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def start(command, core=None, batch=None, env=None, **options):
    """Starts a process, pinned and under a policy; stopped at the end at the latest."""
    def prepare():
        if core is not None:
            os.sched_setaffinity(0, {core % os.cpu_count()})
        if batch:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    log = open(os.path.join(WORK, os.path.basename(command[0]) + '.log'), 'ab')
    options.setdefault('stdout', log)
    process = subprocess.Popen(command, preexec_fn=prepare, stderr=log, env={**os.environ, **(env or {})}, **options)
    PROCESSES.append(process)
    return process


def stop(*processes):
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_port(port, seconds=5):
    deadline = time.time() + seconds
    while time.time() < deadline:
        try:
            socket.create_connection(('127.0.0.1', port), 0.2).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False
