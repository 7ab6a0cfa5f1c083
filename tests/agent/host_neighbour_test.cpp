#include "support/host_agent.hpp"
#include "support/scale.hpp"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

using namespace hf::testing_support;
using nlohmann::json;

namespace {

/// A command of sandbox A that prints ESCAPED when it reaches what is not its own.
struct attempt {
  char const* name;
  std::string script;
};

std::string python(std::string const& program) {
  return "python3 - <<'END'\n" + program + "\nEND\n";
}

/// What the attempts are aimed at.
struct target {
  pooled box;
  std::string pid;
  std::string agent;
  int agent_port = 0;
  std::string abstract;
};

std::vector<attempt> attempts_on(target const& at) {
  std::string const secret = at.box.home + "/secret";
  std::string const proc = "/proc/" + at.pid;
  std::string const agent = "/proc/" + at.agent;
  std::string const libc = "import ctypes, os, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n";
  auto const call = [&](std::string const& number_and_arguments) {
    return python(libc + "if libc.syscall(" + number_and_arguments + ") >= 0: print('ESCAPED')");
  };
  return {
      {"read a file of the neighbour", "cat " + secret + " && echo ESCAPED"},
      {"list the neighbour's home", "ls " + at.box.home + " && echo ESCAPED"},
      {"write into the neighbour's home", "echo x > " + at.box.home + "/planted && echo ESCAPED"},
      {"list all homes", "ls " + at.box.home + "/.. && echo ESCAPED"},
      {"hard link to a file of the neighbour", "ln " + secret + " ./link && echo ESCAPED"},
      {"read through a symbolic link", "ln -sf " + secret + " s && cat s && echo ESCAPED"},
      {"read the neighbour's environment", "cat " + proc + "/environ && echo ESCAPED"},
      {"read the neighbour's memory", "head -c 1 " + proc + "/mem && echo ESCAPED"},
      {"read the neighbour's memory map", "grep . " + proc + "/maps && echo ESCAPED"},
      {"list the neighbour's descriptors", "ls " + proc + "/fd/ && echo ESCAPED"},
      {"enter the neighbour's directory", "cd " + proc + "/cwd/ && echo ESCAPED"},
      {"enter the neighbour's root", "cd " + proc + "/root/ && echo ESCAPED"},
      {"signal the neighbour", "kill -0 " + at.pid + " && echo ESCAPED"},
      {"signal everybody", "kill -CONT " + at.pid + " " + at.agent + " && echo ESCAPED"},
      {"read the agent's environment", "cat " + agent + "/environ && echo ESCAPED"},
      {"read the agent's memory", "head -c 1 " + agent + "/mem && echo ESCAPED"},
      {"list the agent's descriptors", "ls " + agent + "/fd/ && echo ESCAPED"},
      {"signal the agent", "kill -0 " + at.agent + " && echo ESCAPED"},
      {"trace the neighbour",
       python(libc + "if libc.ptrace(16, " + at.pid + ", 0, 0) == 0: print('ESCAPED')")},
      {"trace the agent",
       python(libc + "if libc.ptrace(16, " + at.agent + ", 0, 0) == 0: print('ESCAPED')")},
      {"take a descriptor of the neighbour",
       python(libc + "fd = libc.syscall(434, " + at.pid +
              ", 0)\nif fd >= 0 and libc.syscall(438, fd, 0, 0) >= 0: print('ESCAPED')")},
      {"limit the neighbour",
       python("import resource\ntry:\n  resource.prlimit(" + at.pid +
              ", resource.RLIMIT_NOFILE, (1, 1))\n  print('ESCAPED')\nexcept Exception: pass")},
      {"make the neighbour nicer",
       python("import os\ntry:\n  os.setpriority(os.PRIO_PROCESS, " + at.pid +
              ", 19)\n  print('ESCAPED')\nexcept OSError: pass")},
      {"bind the neighbour to a processor",
       python("import os\ntry:\n  os.sched_setaffinity(" + at.pid +
              ", {0})\n  print('ESCAPED')\nexcept OSError: pass")},
      {"connect to an abstract socket of the neighbour",
       python("import socket\ns = socket.socket(socket.AF_UNIX)\ntry:\n  s.connect('\\0" +
              at.abstract + "')\n  print('ESCAPED')\nexcept OSError: pass")},
      {"connect to a socket in the neighbour's home",
       python("import socket\ns = socket.socket(socket.AF_UNIX)\ntry:\n  s.connect('" +
              at.box.home + "/.sbx/proxy/80.sock')\n  print('ESCAPED')\nexcept OSError: pass")},
      {"talk to the agent", python("import socket\ns = socket.socket()\ns.settimeout(10)\ntry:\n"
                                   "  s.connect(('127.0.0.1', " +
                                   std::to_string(at.agent_port) +
                                   "))\n"
                                   "  s.send(b'GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
                                   "  if s.recv(100): print('ESCAPED')\nexcept OSError: pass")},
      {"bind a TCP port", python("import socket\ntry:\n  socket.socket().bind(('127.0.0.1', 0))\n"
                                 "  print('ESCAPED')\nexcept OSError: pass")},
      {"System V shared memory", call("29, 0, 4096, 0o1666")},
      {"a POSIX message queue", call("240, b'q', 0o102, 0o666, 0")},
      {"a file in /dev/shm", "echo x > /dev/shm/hf-planted && echo ESCAPED"},
      {"a file in /tmp", "echo x > /tmp/hf-planted && echo ESCAPED"},
      {"a file in /var/tmp", "echo x > /var/tmp/hf-planted && echo ESCAPED"},
      {"a file in /run", "echo x > /run/hf-planted && echo ESCAPED"},
      {"change a file of the system", "echo x >> /etc/hosts && echo ESCAPED"},
      {"read the password hashes", "cat /etc/shadow && echo ESCAPED"},
      {"mount something", call("165, b'none', b'/tmp', b'tmpfs', 0, 0")},
      {"a user namespace", call("272, 0x10000000")},
      {"a kernel key", call("248, b'user', b'k', b'x', 1, -3")},
      {"become root", python("import os\ntry:\n  os.setuid(0)\n  print('ESCAPED')\n"
                             "except OSError: pass")},
      {"become the neighbour", python("import os\ntry:\n  os.setuid(" + std::to_string(at.box.uid) +
                                      ")\n  print('ESCAPED')\nexcept OSError: pass")},
      {"use a set-uid program",
       "su -c true 2>/dev/null </dev/null && echo ESCAPED; "
       "[ \"$(id -u)\" = \"$(stat -c %u $HOME)\" ] || echo ESCAPED"},
      {"inherited descriptors",
       "for f in /proc/self/fd/*; do case $f in */0|*/1|*/2|*/3) ;; *) "
       "[ -e $f ] && echo ESCAPED $f;; esac; done"},
      {"write to the kernel's settings", "echo 1 > /proc/sys/vm/drop_caches && echo ESCAPED"},
      {"lower its own score for the memory killer",
       "echo -500 > /proc/self/oom_score_adj && echo ESCAPED"},
      {"a higher priority", "nice -n -1 true 2>&1 | grep -q . || echo ESCAPED"},
  };
}

bool can_attack() {
#if defined(__SANITIZE_THREAD__)
  SKIP("ThreadSanitizer needs more address space than a sandbox may have");
#endif
  if (::geteuid() != 0)
    SKIP("host mode needs root");
  if (std::system("python3 -c '' 2>/dev/null") != 0)
    SKIP("no python3");
  return true;
}

}  // namespace

TEST_CASE("host mode: a sandbox reaches nothing of its neighbour, the agent or the machine",
          "[host][serial]") {
  if (!can_attack())
    return;
  agent_options options;
  options.tcp = true;
  host_agent host(options);
  target at;
  at.box = host.create();
  auto const attacker = host.create();
  REQUIRE(host.call(at.box, "PUT", "/files/write?path=secret&mode=644", "SECRET").status == 200);
  at.abstract = "hf-neighbour-" + at.box.id;
  auto const server =
      host.call(at.box, "POST", "/processes",
                json({{"cmd", json::array({"python3", "-c",
                                           "import socket, os, time\n"
                                           "a = socket.socket(socket.AF_UNIX); a.bind('\\0" +
                                               at.abstract +
                                               "'); a.listen()\n"
                                               "b = socket.socket(socket.AF_UNIX)\n"
                                               "b.bind('.sbx/proxy/80.sock'); b.listen()\n"
                                               "open('up', 'w').close(); time.sleep(1000)"})}})
                    .dump());
  REQUIRE(server.status == 200);
  at.pid = std::to_string(server.json()["pid"].get<int>());
  at.agent = std::to_string(host.process().pid());
  at.agent_port = host.process().port();
  while (host.call(at.box, "GET", "/files/stat?path=up").status != 200)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));

  for (auto const& one : attempts_on(at)) {
    auto const printed = host.shell(attacker, one.script);
    INFO(one.name << ": " << printed);
    CHECK(printed.find("ESCAPED") == std::string::npos);
    CHECK(printed.find("SECRET") == std::string::npos);
  }
  CHECK(host.shell(at.box, "cat secret; ls") == "SECRETsecret\nup\n");
}

TEST_CASE("host mode: what is known to be visible of a neighbour", "[host][serial]") {
  if (!can_attack())
    return;
  host_agent host;
  auto const victim = host.create();
  auto const other = host.create();
  auto const pid = host.call(victim, "POST", "/processes", R"({"cmd":["sleep","1000"]})")
                       .json()["pid"]
                       .get<int>();
  // The command lines and states of processes; which is why no secret belongs into arguments.
  CHECK(host.shell(other, "tr '\\0' ' ' < /proc/" + std::to_string(pid) + "/cmdline") ==
        "sleep 1000 ");
  // Listening without binding takes a port of the kernel's choice, and UDP is not restricted.
  CHECK(host.shell(other, python("import socket\ns = socket.socket()\ns.listen()\n"
                                 "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                                 "u.bind(('127.0.0.1', 0))\nprint('open')")) == "open\n");
}

TEST_CASE("host mode: links that are swapped meanwhile lead no file call out of the home",
          "[host][serial]") {
  if (!can_attack())
    return;
  int const rounds = scaled(10'000, 300);
  WARN("rounds for each call: " << rounds);
  host_agent host;
  auto const victim = host.create();
  auto const attacker = host.create();
  REQUIRE(host.call(victim, "PUT", "/files/write?path=secret", "SECRET").status == 200);
  REQUIRE(host.call(attacker, "PUT", "/files/write?path=real/secret", "own").status == 200);
  // `way` is by turns a directory of its own, a link into the neighbour's home, and nothing.
  REQUIRE(host.call(attacker, "POST", "/processes",
                    json({{"cmd", python("import os\n"
                                         "while True:\n"
                                         "  try:\n"
                                         "    os.symlink('" +
                                         victim.home +
                                         "', 'link'); os.rename('link', 'way')\n"
                                         "    os.unlink('way'); os.mkdir('way')\n"
                                         "    os.link('real/secret', 'way/secret')\n"
                                         "    os.rename('way', 'gone')\n"
                                         "    os.unlink('gone/secret'); os.rmdir('gone')\n"
                                         "  except OSError:\n"
                                         "    os.system('rm -rf way gone link')\n")}})
                        .dump())
              .status == 200);
  raw_http connection = host.process().connect();
  auto const call = [&](std::string_view method, std::string const& below,
                        std::string_view body = {}) {
    connection.send_request(method, attacker.route(below), attacker.token, body);
    return connection.read_answer();
  };
  for (int i = 0; i < rounds; ++i) {
    auto const read = call("GET", "/files/read?path=way/secret");
    REQUIRE(read.body.find("SECRET") == std::string::npos);
    auto const listed = call("GET", "/files/list?path=way");
    REQUIRE(listed.body.find(victim.id) == std::string::npos);
    static_cast<void>(call("PUT", "/files/write?path=way/planted", "planted"));
    static_cast<void>(call("PUT", "/files/write?path=way/secret&offset=0", "planted"));
    static_cast<void>(call("POST", "/files/mkdir?path=way/directory"));
    static_cast<void>(call("DELETE", "/files/delete?path=way/secret"));
    static_cast<void>(call("DELETE", "/files/delete?path=way&recursive=1"));
    static_cast<void>(call("GET", "/files/stat?path=way/secret"));
  }
  CHECK(host.shell(victim, "cat secret; ls -A; stat -c '%u %a %h' secret .") ==
        "SECRET.sbx\n.tmp\nsecret\n" + std::to_string(victim.uid) + " 600 1\n" +
            std::to_string(victim.uid) + " 700 4\n");
}

TEST_CASE("host mode: the proxy reaches a sandbox's own servers, and only these",
          "[host][serial]") {
  if (!can_attack())
    return;
  host_agent host;
  auto const victim = host.create();
  auto const box = host.create();
  // Answers every request with its argument and the request's target.
  auto const serve = [&](pooled const& where, std::string const& name) {
    std::string const program =
        "import socket, os, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(os.environ['SBX_PROXY_DIR'] + '/80.sock')\n"
        "s.listen()\nopen('up', 'w').close()\n"
        "while True:\n"
        "  c, _ = s.accept(); q = c.recv(65536).split(b' ')[1]; b = b'" +
        name +
        " ' + q\n"
        "  c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(b) + b)\n"
        "  c.close()\n";
    REQUIRE(host.call(where, "POST", "/processes",
                      json({{"cmd", json::array({"python3", "-c", program})}}).dump())
                .status == 200);
    while (host.call(where, "GET", "/files/stat?path=up").status != 200)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  serve(victim, "victim");
  serve(box, "own");
  CHECK(host.call(box, "GET", "/proxy/80/a/b?c=d").body == "own /a/b?c=d");
  CHECK(host.call(box, "GET", "/proxy/80").body == "own /");
  CHECK(host.call(box, "GET", "/proxy/81").status == 502);
  CHECK(host.call(box, "GET", "/proxy/0").status == 404);
  CHECK(host.call(box, "GET", "/proxy/x").status == 404);

  auto const refused = [&](std::string const& prepare) {
    CHECK(host.exec(box, {{"cmd", "cd .sbx/proxy && " + prepare}}).code() == 0);
    auto const answer = host.call(box, "GET", "/proxy/90");
    INFO(prepare << ": " << answer.body);
    CHECK(answer.status == 502);
    CHECK(host.exec(box, {{"cmd", "cd && rm -rf .sbx && mkdir -p .sbx/proxy"}}).code() == 0);
  };
  refused("ln -s " + victim.home + "/.sbx/proxy/80.sock 90.sock");
  refused("cd .. && rmdir proxy || mv proxy old; ln -s " + victim.home + "/.sbx/proxy proxy");
  refused("cd ../.. && mv .sbx old && ln -s " + victim.home + "/.sbx .sbx && rm -rf old");
  refused("echo text > 90.sock");
  refused("mkfifo 90.sock");

  // The name is by turns the sandbox's own socket and a link to the neighbour's.
  int const rounds = scaled(10'000, 300);
  WARN("rounds: " << rounds);
  CHECK(host.call(box, "DELETE", "/files/delete?path=up").status == 200);
  serve(box, "own");
  REQUIRE(
      host.call(box, "POST", "/processes",
                json({{"cmd", python("import os, time\nos.chdir('.sbx/proxy')\n"
                                     "while True:\n"
                                     "  os.link('80.sock', 'own'); os.rename('own', '90.sock')\n"
                                     "  time.sleep(0.001)\n"
                                     "  os.symlink('" +
                                     victim.home +
                                     "/.sbx/proxy/80.sock', 'theirs')\n"
                                     "  os.rename('theirs', '90.sock'); "
                                     "os.unlink('90.sock')\n")}})
                    .dump())
          .status == 200);
  int reached = 0;
  // The renaming process may take its time to come up.
  auto const until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (int i = 0; i < rounds || (reached == 0 && std::chrono::steady_clock::now() < until); ++i) {
    auto const answer = host.call(box, "GET", "/proxy/90/x");
    REQUIRE(answer.body.find("victim") == std::string::npos);
    reached += answer.status == 200 ? 1 : 0;
  }
  CHECK(reached > 0);
}
