#include "support/host_agent.hpp"
#include "support/scale.hpp"

#include <catch2/catch_test_macros.hpp>
#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <string>
#include <thread>

using namespace hf::testing_support;
using nlohmann::json;

namespace {

bool can_host() {
#if defined(__SANITIZE_THREAD__)
  SKIP("ThreadSanitizer needs more address space than a sandbox may have");
#endif
  if (::geteuid() == 0)
    return true;
  SKIP("host mode needs root");
  return false;
}

std::size_t open_descriptors(pid_t pid) {
  std::error_code ignored;
  auto const entries =
      std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ignored);
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

std::size_t resident_kib(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    unsigned long kib = 0;
    if (std::sscanf(line.c_str(), "VmRSS: %lu kB", &kib) == 1)
      return kib;
  }
  return 0;
}

}  // namespace

TEST_CASE("host mode: sandboxes are made, listed, used and deleted", "[host][serial]") {
  if (!can_host())
    return;
  host_agent host;
  auto const answer = host.manage("POST", "/v1/sandboxes", R"({"count":2,"env":{"A":"b","N":1}})");
  REQUIRE(answer.status == 200);
  CHECK(answer.json()["rejected"] == 0);
  auto const made = answer.json()["sandboxes"];
  REQUIRE(made.size() == 2);
  CHECK(made[0]["confinement"] == "landlock");
  CHECK(made[0]["token"].get<std::string>().size() == 64);
  CHECK(made[0]["token"] != made[1]["token"]);
  CHECK(made[0]["uid"] != made[1]["uid"]);
  CHECK(made[0]["uid"].get<int>() >= 20'000);
  pooled const box{made[0]["id"], made[0]["token"], made[0]["uid"], made[0]["home"]};
  CHECK(box.id.size() == 16);
  CHECK(box.home == host.homes() + "/homes/" + box.id);

  auto const listed = host.manage("GET", "/v1/sandboxes").json();
  REQUIRE(listed.size() == 2);
  for (auto const& entry : listed) {
    CHECK_FALSE(entry.contains("token"));
    CHECK(entry["created_at_ms"].get<std::int64_t>() > 1'600'000'000'000);
  }
  CHECK(host.manage("GET", box.route("/token")).json() ==
        json({{"id", box.id}, {"token", box.token}}));
  CHECK(host.manage("GET", "/v1/sandboxes/0123456789abcdef/token").status == 404);
  auto const health = host.manage("GET", "/health").json();
  CHECK(health["mode"] == "host");
  CHECK(health["sandboxes"] == 2);
  CHECK_FALSE(host.request(box.token, "GET", "/health").json().contains("mode"));

  auto const done = host.exec(box, {{"cmd",
                                     "id -u; id -G; pwd; echo $A $N $HOME $USER $TMPDIR; "
                                     "echo $SBX_PROXY_DIR; ls -A"}});
  std::string const uid = std::to_string(box.uid);
  CHECK(done.out == uid + "\n" + uid + "\n" + box.home + "\nb 1 " + box.home + " sbx-" + box.id +
                        " " + box.home + "/.tmp\n" + box.home + "/.sbx/proxy\n.sbx\n.tmp\n");
  CHECK(done.err.empty());
  CHECK(done.code() == 0);

  CHECK(host.call(box, "PUT", "/files/write?path=/dir/../dir/file", "content").status == 200);
  CHECK(host.shell(box, "cat dir/file; stat -c '%u %a' dir dir/file") ==
        "content" + uid + " 700\n" + uid + " 600\n");
  CHECK(host.call(box, "GET", "/files/read?path=../../dir/file").body == "content");
  CHECK(host.call(box, "GET", "/files/list?path=/dir").json()["entries"].size() == 1);

  auto const started =
      host.call(box, "POST", "/processes", R"({"cmd":["sleep","1000"],"tag":"t"})").json();
  CHECK(host.call(box, "GET", "/processes").json()[0]["id"] == started["id"]);
  pooled const other{made[1]["id"], made[1]["token"], made[1]["uid"], made[1]["home"]};
  CHECK(host.call(other, "GET", "/processes").json().empty());
  CHECK(host.call(other, "DELETE", "/processes/" + started["id"].get<std::string>())
            .json()["killed"] == false);

  CHECK(host.call(box, "DELETE", "").json() == json({{"id", box.id}, {"deleted", true}}));
  CHECK(count_processes_of(box.uid) == 0);
  CHECK_FALSE(std::filesystem::exists(box.home));
  CHECK(host.call(box, "GET", "/processes").status == 403);
  CHECK(host.manage("DELETE", "/v1/sandboxes").json() == json({{"deleted", 1}}));
  CHECK(host.manage("GET", "/v1/sandboxes").json().empty());
}

TEST_CASE("host mode: who may call which route", "[host][serial]") {
  if (!can_host())
    return;
  host_agent host;
  auto const a = host.create();
  auto const b = host.create();
  struct row {
    char const* method;
    std::string target;
    /// With the host's token, the sandbox's own, another sandbox's, none.
    int host, own, other, none;
  };
  std::string const below = a.route();
  std::string const unknown = "/v1/sandboxes/ffffffffffffffff";
  std::vector<row> const table = {
      {"GET", "/health", 200, 200, 200, 200},
      {"GET", "/v1/info", 200, 403, 403, 403},
      {"GET", "/v1/sandboxes", 200, 403, 403, 403},
      {"POST", "/v1/sandboxes", 200, 403, 403, 403},
      {"GET", below + "/token", 200, 403, 403, 403},
      {"GET", unknown + "/token", 404, 403, 403, 403},
      {"POST", below + "/token", 404, 403, 403, 403},
      {"GET", below, 403, 404, 403, 403},
      {"POST", below + "/exec", 403, 400, 403, 403},
      {"POST", below + "/processes", 403, 400, 403, 403},
      {"GET", below + "/processes", 403, 200, 403, 403},
      {"DELETE", below + "/processes/p-77", 403, 200, 403, 403},
      {"GET", below + "/processes/p-77/events", 403, 404, 403, 403},
      {"GET", below + "/processes/p-77/wait", 403, 404, 403, 403},
      {"POST", below + "/processes/p-77/signal", 403, 400, 403, 403},
      {"POST", below + "/processes/p-77/stdin", 403, 404, 403, 403},
      {"GET", below + "/ops/" + std::string(32, 'a'), 403, 404, 403, 403},
      {"GET", below + "/files/list?path=/", 403, 200, 403, 403},
      {"GET", below + "/files/stat?path=/", 403, 200, 403, 403},
      {"GET", below + "/files/read?path=/none", 403, 404, 403, 403},
      {"PUT", below + "/files/write?path=/x", 403, 200, 403, 403},
      {"POST", below + "/files/mkdir?path=/d", 403, 200, 403, 403},
      {"DELETE", below + "/files/delete?path=/x", 403, 200, 403, 403},
      {"GET", below + "/proxy/9", 403, 502, 403, 403},
      {"GET", below + "/nothing", 403, 404, 403, 403},
      {"POST", below + "/token/more", 403, 404, 403, 403},
      {"POST", unknown + "/exec", 403, 403, 403, 403},
      {"DELETE", unknown, 403, 403, 403, 403},
      {"POST", "/v1/exec", 404, 403, 403, 403},
      {"GET", "/v1/processes", 404, 403, 403, 403},
      {"GET", "/v1/files/list?path=/", 404, 403, 403, 403},
      {"GET", "/v1/proxy/80/", 404, 403, 403, 403},
      {"GET", "/nothing", 404, 403, 403, 403},
      {"DELETE", below, 403, 200, 403, 403},
  };
  for (auto const& route : table) {
    INFO(route.method << " " << route.target);
    CHECK(host.request("", route.method, route.target).status == route.none);
    CHECK(host.request(b.token, route.method, route.target).status == route.other);
    CHECK(host.manage(route.method, route.target).status == route.host);
    CHECK(host.request(a.token, route.method, route.target).status == route.own);
  }
  CHECK(host.manage("POST", "/v1/exec").json()["error"] ==
        "no route in this server mode: POST /v1/exec");
  CHECK(host.manage("GET", "/nothing").json()["error"] == "no route: GET /nothing");
}

TEST_CASE("host mode: a request that makes no sense is refused, and makes nothing",
          "[host][serial]") {
  if (!can_host())
    return;
  host_agent host;
  for (std::string const body :
       {R"({"count":-1})", R"({"count":1.5})", R"({"count":"2"})", R"({"max_procs":0})",
        R"({"max_procs":4097})", R"({"max_mem_mb":0})", R"({"max_mem_mb":1048577})",
        R"({"env":{"A":null}})", R"({"env":{"A":["x"]}})", R"({"env":{"A=B":"x"}})",
        R"({"env":{"":"x"}})", R"({"env":[]})", R"({"idle_timeout_secs":-1})"}) {
    INFO(body);
    CHECK(host.manage("POST", "/v1/sandboxes", body).status == 400);
  }
  json large = {{"env", {{"A", std::string(65'536, 'x')}}}};
  auto const refused = host.manage("POST", "/v1/sandboxes", large.dump());
  CHECK(refused.status == 400);
  CHECK(refused.json()["error"] == "env too large (65537 bytes, max 65536)");
  CHECK(host.manage("POST", "/v1/sandboxes", std::string((1 << 20) + 1, ' ')).status == 413);
  CHECK(host.manage("GET", "/v1/sandboxes").json().empty());
  CHECK(host.manage("POST", "/v1/sandboxes", R"({"count":0})").json()["sandboxes"].empty());
  // As the common protocol has it.
  CHECK(host.manage("POST", "/v1/sandboxes", "no json").json()["sandboxes"].size() == 1);
  CHECK(host.manage("POST", "/v1/sandboxes", "").json()["sandboxes"].size() == 1);
}

TEST_CASE("host mode: what does not fit is counted as rejected", "[host][serial]") {
  if (!can_host())
    return;
  agent_options options;
  options.env["SBX_CAPACITY"] = "3";
  host_agent host(options);
  auto const first = host.manage("POST", "/v1/sandboxes", R"({"count":2})").json();
  CHECK(first["rejected"] == 0);
  auto const second = host.manage("POST", "/v1/sandboxes", R"({"count":4})").json();
  CHECK(second["sandboxes"].size() == 1);
  CHECK(second["rejected"] == 3);
  auto const full = host.manage("POST", "/v1/sandboxes", R"({"count":1})");
  CHECK(full.status == 200);
  CHECK(full.json()["sandboxes"].empty());
  CHECK(full.json()["rejected"] == 1);
  pooled const box{first["sandboxes"][0]["id"], first["sandboxes"][0]["token"],
                   first["sandboxes"][0]["uid"], first["sandboxes"][0]["home"]};
  CHECK(host.call(box, "DELETE", "").status == 200);
  auto const again = host.create();
  CHECK(again.uid == box.uid);
  CHECK(again.token != box.token);
}

TEST_CASE("host mode: deleting ends everything of a sandbox and nothing else", "[host][serial]") {
  if (!can_host())
    return;
  host_agent host;
  auto const a = host.create();
  auto const b = host.create();
  REQUIRE(host.call(b, "POST", "/processes", R"({"cmd":["sleep","1000"]})").status == 200);
  REQUIRE(host.call(a, "POST", "/processes",
                    R"({"cmd":"for i in 1 2 3; do setsid env -i sleep 1000 & done; trap '' TERM; )"
                    R"(cd /; mkdir -p $HOME/x/y; chmod 0 $HOME/x; sleep 1000"})")
              .status == 200);
  while (count_processes_of(a.uid) < 4)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::thread stream([&] {
    auto const killed = host.exec(a, {{"cmd", "echo $$; sleep 1000"}});
    CHECK(killed.exit["signal"] == 9);
  });
  while (count_processes_of(a.uid) < 6)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(host.call(a, "DELETE", "").status == 200);
  stream.join();
  CHECK(count_processes_of(a.uid) == 0);
  CHECK_FALSE(std::filesystem::exists(a.home));
  CHECK(count_processes_of(b.uid) == 1);
  CHECK(host.shell(b, "echo alive") == "alive\n");
}

TEST_CASE("host mode: a fork bomb stays in its sandbox and ends with it", "[host][serial]") {
  if (!can_host())
    return;
  host_agent host;
  auto const a = host.create({{"max_procs", 200}}).at(0);
  auto const b = host.create();
  // A shell that cannot fork gives up, so that a bomb can end too early: then there is another.
  for (int looks = 0; count_processes_of(a.uid) < 100; ++looks) {
    if (looks % 100 == 0)
      static_cast<void>(
          host.call(a, "POST", "/processes",
                    R"({"cmd":"f() { while :; do f & setsid sh -c 'sleep 1000' & done; }; f"})"));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  CHECK(host.shell(b, "echo alive") == "alive\n");
  CHECK(count_processes_of(a.uid) <= 200);
  CHECK(host.call(a, "DELETE", "").status == 200);
  CHECK(count_processes_of(a.uid) == 0);
}

TEST_CASE("host mode: limits of a sandbox hold, and a request cannot raise them",
          "[host][serial]") {
  if (!can_host())
    return;
  host_agent host;
  auto const box = host.create({{"max_procs", 17}, {"max_mem_mb", 300}}).at(0);
  CHECK(host.shell(box, "ulimit -u 2>/dev/null || ulimit -p; ulimit -v; ulimit -n; ulimit -c") ==
        "17\n307200\n4096\n0\n");
  auto const raised = host.exec(box, {{"cmd", "ulimit -n; ulimit -v; nice"},
                                      {"nice", -10},
                                      {"rlimits", {{"nofile", 100'000}, {"as", 1ull << 40}}}});
  CHECK(raised.out == "4096\n307200\n5\n");
  auto const lowered = host.exec(box, {{"cmd", "ulimit -n"}, {"rlimits", {{"nofile", 64}}}});
  CHECK(lowered.out == "64\n");
  CHECK(host.exec(box, {{"cmd", "id"}, {"user", "root"}}).status == 403);
  CHECK(host.shell(box,
                   "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; "
                   "cat /proc/self/oom_score_adj") ==
        "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n500\n");
}

TEST_CASE("host mode: an idle sandbox is evicted, a busy one is not", "[host][serial]") {
  if (!can_host())
    return;
  host_agent host;
  auto const idle = host.create({{"idle_timeout_secs", 1}}).at(0);
  auto const busy = host.create({{"idle_timeout_secs", 1}}).at(0);
  auto const forever = host.create();
  // Foreground commands count.
  auto const slept = host.exec(busy, {{"cmd", "sleep 3; echo done"}});
  CHECK(slept.out == "done\n");
  CHECK(host.call(idle, "GET", "/processes").status == 403);
  CHECK_FALSE(std::filesystem::exists(idle.home));
  CHECK(host.call(busy, "GET", "/processes").status == 200);
  CHECK(host.call(forever, "GET", "/processes").status == 200);
}

TEST_CASE("host mode: the agent ends once it has been empty for its idle time", "[host][serial]") {
  if (!can_host())
    return;
  agent_options options;
  options.env["SBX_IDLE_TIMEOUT"] = "1";
  host_agent host(options);
  auto const box = host.create();
  CHECK_FALSE(host.process().wait_exit(std::chrono::milliseconds(2500)));
  CHECK(host.call(box, "DELETE", "").status == 200);
  auto const status = host.process().wait_exit(std::chrono::seconds(20));
  REQUIRE(status);
  CHECK(WEXITSTATUS(*status) == 0);
}

TEST_CASE("host mode: what an earlier agent left in the homes is removed at start",
          "[host][serial]") {
  if (!can_host())
    return;
  char pattern[] = "/tmp/hf-homes-left-XXXXXX";
  std::string const base = ::mkdtemp(pattern);
  std::filesystem::create_directories(base + "/homes/0123456789abcdef/x/y");
  std::filesystem::create_directories(base + "/homes/somebody-elses");
  {
    agent_options options;
    options.env["SBX_HOST_MODE"] = "1";
    options.flags = {"--homes=" + base + "/homes"};
    agent_process const agent(options);
    CHECK_FALSE(std::filesystem::exists(base + "/homes/0123456789abcdef"));
    CHECK(std::filesystem::exists(base + "/homes/somebody-elses"));
  }
  std::filesystem::remove_all(base);
}

TEST_CASE("host mode: below the Landlock that is wanted the agent does not start",
          "[host][serial]") {
  if (!can_host())
    return;
  agent_options options;
  options.env["SBX_HOST_MODE"] = "1";
  options.env["SBX_MIN_LANDLOCK_ABI"] = "99";
  options.wait_until_healthy = false;
  agent_process refused(options);
  auto const status = refused.wait_exit(std::chrono::seconds(20));
  REQUIRE(status);
  CHECK(WEXITSTATUS(*status) == 1);
  CHECK(refused.log().find("required for the documented isolation guarantees") !=
        std::string::npos);
}

TEST_CASE("host mode: making and deleting again and again uses nothing up", "[host][serial]") {
  if (!can_host())
    return;
  int const rounds = scaled(100'000, 400);
  WARN("rounds: " << rounds);
  host_agent host;
  pid_t const pid = host.process().pid();
  raw_http connection = host.process().connect();
  auto const once = [&] {
    connection.send_request("POST", "/v1/sandboxes", host.process().token(), "{}");
    auto const answer = connection.read_answer();
    INFO(answer.body);
    auto const made = answer.json().at("sandboxes").at(0);
    std::string const route = "/v1/sandboxes/" + made["id"].get<std::string>();
    connection.send_request("POST", route + "/exec", made["token"].get<std::string>(),
                            R"({"cmd":["true"]})");
    if (connection.read_head().status != 200)
      return false;
    while (connection.read_chunk()) {
    }
    connection.send_request("DELETE", route, made["token"].get<std::string>());
    return connection.read_answer().status == 200 && made["uid"].get<int>() < 20'100;
  };
  for (int i = 0; i < 50; ++i)
    REQUIRE(once());
  auto const descriptors = open_descriptors(pid);
  auto const memory = resident_kib(pid);
  int wrong = 0;
  for (int i = 0; i < rounds; ++i)
    wrong += once() ? 0 : 1;
  CHECK(wrong == 0);
  CHECK(open_descriptors(pid) <= descriptors + 2);
#if !defined(__SANITIZE_ADDRESS__)  // which keeps what is freed
  CHECK(resident_kib(pid) < memory + 4096);
#endif
  CHECK(std::filesystem::is_empty(host.homes() + "/homes"));
}

TEST_CASE("host mode: what is started while its sandbox is deleted is not left behind",
          "[host][serial]") {
  if (!can_host())
    return;
  int const rounds = scaled(2'000, 40);
  WARN("rounds: " << rounds);
  host_agent host;
  for (int i = 0; i < rounds; ++i) {
    auto const box = host.create();
    std::vector<raw_http> callers;
    for (int caller = 0; caller < 8; ++caller) {
      callers.push_back(host.process().connect());
      callers.back().send_request("POST", box.route("/processes"), box.token,
                                  R"({"cmd":"setsid sleep 1000 & sleep 1000"})");
    }
    REQUIRE(host.call(box, "DELETE", "").status == 200);
    for (auto& caller : callers) {
      auto const status = caller.read_answer().status;
      CHECK((status == 200 || status == 400 || status == 403));
    }
    REQUIRE(count_processes_of(box.uid) == 0);
  }
}
