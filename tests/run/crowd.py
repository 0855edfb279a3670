# Connects in crowds to a server of its own, and to servers that fail, and prints what it sees.
import collections, errno, resource, selectors, socket, threading

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
AT_ONCE = 2000 if hard == resource.RLIM_INFINITY or hard > 5000 else (hard - 100) // 2
listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
address = listener.getsockname()
accepted = []


def serve():
    while True:
        client = listener.accept()[0]
        client.sendall(b"hello")
        accepted.append(client)


threading.Thread(target=serve, daemon=True).start()
seen = collections.Counter()


def check(client):
    hello = client.recv(5, socket.MSG_WAITALL)
    seen["good" if hello == b"hello" and client.getpeername() == address else "wrong"] += 1


def one():
    with socket.create_connection(address) as client:
        check(client)


threads = [threading.Thread(target=one) for _ in range(200)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("threads", dict(seen))

seen.clear()
clients = [socket.socket() for _ in range(AT_ONCE)]
selector = selectors.DefaultSelector()
for client in clients:
    client.setblocking(False)
    assert client.connect_ex(address) in (0, errno.EINPROGRESS)
    selector.register(client, selectors.EVENT_WRITE)
while selector.get_map():
    for key, _ in selector.select():
        error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        seen[errno.errorcode.get(error, "connected")] += 1
        selector.unregister(key.fileobj)
for client in clients:
    client.setblocking(True)
    check(client)
print("at once", seen["connected"] == AT_ONCE, seen["good"] == AT_ONCE, len(seen))

closed = socket.socket()
closed.bind(("127.0.0.1", 0))
# No TCP connection goes to a multicast group.
for failing in (closed.getsockname(), ("224.0.0.1", 80)):
    print("failing", errno.errorcode.get(socket.socket().connect_ex(failing)))
