#include "support/agent_process.hpp"
#include "support/file_helpers.hpp"

#include <catch2/catch_test_macros.hpp>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>

using namespace hf::testing_support;

namespace {

std::string read_target(std::string const& path, std::string const& more = "") {
  return "/v1/files/read?path=" + percent(path) + more;
}

void make_socket(std::string const& path) {
  int const fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0);
  ::close(fd);
}

}  // namespace

TEST_CASE("a file is read whole and in ranges, byte for byte", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/data";
  auto const content = noise(300'000);
  spill(path, content);

  auto const whole = agent.request("GET", read_target(path));
  CHECK(whole.status == 200);
  CHECK(whole.header("content-type") == "application/octet-stream");
  CHECK(whole.header("content-length") == "300000");
  CHECK(whole.body == content);

  CHECK(agent.request("GET", read_target(path, "&offset=1000&length=5000")).body ==
        content.substr(1000, 5000));
  CHECK(agent.request("GET", read_target(path, "&offset=299999")).body == content.substr(299999));
  CHECK(agent.request("GET", read_target(path, "&offset=299990&length=5000")).body ==
        content.substr(299990));
  for (auto const* nothing : {"&offset=300000", "&offset=9000000000000000000", "&length=0"}) {
    auto const empty = agent.request("GET", read_target(path, nothing));
    CHECK(empty.status == 200);
    CHECK(empty.header("content-length") == "0");
    CHECK(empty.body.empty());
  }
}

TEST_CASE("HEAD tells a file's length and sends no body", "[files]") {
  agent_process agent;
  spill(agent.directory() + "/data", "twelve bytes");
  auto connection = agent.connect();
  connection.send_request("HEAD", read_target(agent.directory() + "/data"), agent.token());
  auto const answer = connection.read_answer(true);
  CHECK(answer.status == 200);
  CHECK(answer.header("content-length") == "12");
  // The connection is still in step.
  connection.send_request("GET", read_target(agent.directory() + "/data"), agent.token());
  CHECK(connection.read_answer().body == "twelve bytes");
}

TEST_CASE("files of the kernel are read to their end although their size says nothing", "[files]") {
  agent_process agent;
  auto const version = agent.request("GET", read_target("/proc/version"));
  CHECK(version.status == 200);
  CHECK(version.header("transfer-encoding") == "chunked");
  CHECK(version.body == slurp("/proc/version"));
  CHECK(agent.request("GET", read_target("/proc/version", "&offset=6&length=7")).body ==
        slurp("/proc/version").substr(6, 7));
  // sysfs promises 4096 bytes and has fewer.
  if (::access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) == 0) {
    auto const thp =
        agent.request("GET", read_target("/sys/kernel/mm/transparent_hugepage/enabled"));
    CHECK(thp.status == 200);
    CHECK(thp.body == slurp("/sys/kernel/mm/transparent_hugepage/enabled"));
  }
  auto const maps = agent.request("GET", read_target("/proc/self/maps"));
  CHECK(maps.status == 200);
  CHECK(maps.body.size() > 500);
}

TEST_CASE("a sparse file is read as the zeros that it stands for", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/sparse";
  spill(path, "");
  REQUIRE(::truncate(path.c_str(), std::int64_t{64} << 30) == 0);
  auto const part = agent.request("GET", read_target(path, "&offset=60000000000&length=100000"));
  CHECK(part.status == 200);
  CHECK(part.body == std::string(100'000, '\0'));
}

TEST_CASE("what is no regular file is refused with a reason and without blocking", "[files]") {
  agent_process agent;
  auto const fifo = agent.directory() + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  auto const socket = agent.directory() + "/socket";
  make_socket(socket);

  for (auto const& [path, kind] : {std::pair<std::string, std::string>{fifo, "FIFO"},
                                   {socket, "socket"},
                                   {"/dev/zero", "character device"},
                                   {"/dev/tty", "character device"}}) {
    auto const refused = agent.request("GET", read_target(path));
    CHECK(refused.status == 400);
    CHECK(refused.json().at("code") == "not_regular");
    CHECK(refused.json().at("error") == "cannot open " + path + ": not a regular file");
    CHECK(refused.json().at("kind") == kind);
  }
  auto const directory = agent.request("GET", read_target(agent.directory()));
  CHECK(directory.status == 409);
  CHECK(directory.json().at("code") == "is_directory");
  CHECK(directory.json().at("error") == "is a directory: " + agent.directory());
  auto const missing = agent.request("GET", read_target(agent.directory() + "/none"));
  CHECK(missing.status == 404);
  CHECK(missing.json().at("error") == "no such path: " + agent.directory() + "/none");
  CHECK(missing.json().at("code") == "not_found");
  auto const through_file = agent.request("GET", read_target(fifo + "/x"));
  CHECK(through_file.status == 400);
  CHECK(through_file.json().at("code") == "not_directory");
}

TEST_CASE("malformed read parameters are refused, never replaced by a default", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/data";
  spill(path, "content");
  for (auto const* bad : {"&offset=-1", "&offset=", "&offset=1x", "&offset=+1", "&offset=1.5",
                          "&length=-1", "&length=abc", "&offset=99999999999999999999",
                          "&offset=9223372036854775808", "&length=0x10"}) {
    INFO(bad);
    auto const refused = agent.request("GET", read_target(path, bad));
    CHECK(refused.status == 400);
    CHECK(refused.json().at("code") == "invalid_argument");
  }
  CHECK(agent.request("GET", "/v1/files/read").status == 400);
  CHECK(agent.request("GET", "/v1/files/read").json().at("error") ==
        "missing 'path' query parameter");
  CHECK(agent.request("GET", "/v1/files/read?path=").status == 400);
  CHECK(agent.request("GET", "/v1/files/read?path=%2").status == 400);
  CHECK(agent.request("GET", "/v1/files/read?path=%zz").status == 400);
  auto const nul = agent.request("GET", read_target(path + std::string(1, '\0') + "x"));
  CHECK(nul.status == 400);
  CHECK(agent.request("GET", read_target("/" + std::string(5000, 'x'))).status == 400);
}

TEST_CASE("a relative path starts at the agent's working directory", "[files]") {
  agent_process agent;
  spill(agent.directory() + "/here", "found");
  CHECK(agent.request("GET", read_target("here")).body == "found");
  CHECK(agent.request("GET", "/v1/files/stat?path=here").json().at("path") ==
        agent.directory() + "/here");
}

TEST_CASE("a file that shrinks while it is sent drops the connection, not the framing", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/shrinking";
  spill(path, "");
  REQUIRE(::truncate(path.c_str(), 64 << 20) == 0);
  auto connection = agent.connect();
  connection.send_request("GET", read_target(path), agent.token());
  auto const head = connection.read_head();
  CHECK(head.header("content-length") == std::to_string(64 << 20));
  REQUIRE(::truncate(path.c_str(), 0) == 0);
  std::size_t got = 0;
  bool lost = false;
  try {
    while (auto piece = connection.read_chunk())
      got += piece->size();
  } catch (std::runtime_error const&) {
    lost = true;
  }
  CHECK(lost);
  CHECK(got < std::size_t{64} << 20);
  CHECK(agent.request("GET", "/health").status == 200);
}
