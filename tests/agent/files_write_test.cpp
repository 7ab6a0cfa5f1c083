#include "support/agent_process.hpp"
#include "support/file_helpers.hpp"

#include <catch2/catch_test_macros.hpp>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

using namespace hf::testing_support;
namespace fs = std::filesystem;

namespace {

std::string write_target(std::string const& path, std::string const& more = "") {
  return "/v1/files/write?path=" + percent(path) + more;
}

struct stat stat_of(std::string const& path) {
  struct stat st {};
  REQUIRE(::lstat(path.c_str(), &st) == 0);
  return st;
}

}  // namespace

TEST_CASE("a write creates the file and its parents, and answers path and size", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/a/b/c/file";
  auto const content = noise(100'000);
  auto const written = agent.request("PUT", write_target(path), content);
  CHECK(written.status == 200);
  CHECK(written.json() == nlohmann::json{{"path", path}, {"size", 100'000}});
  CHECK(slurp(path) == content);
  CHECK((stat_of(path).st_mode & 07777) == 0644);
  CHECK((stat_of(agent.directory() + "/a/b").st_mode & 07777) == 0755);
  CHECK(names_in(agent.directory() + "/a/b/c") == std::vector<std::string>{"file"});

  CHECK(agent.request("PUT", write_target(path), "").status == 200);
  CHECK(slurp(path).empty());
  auto const orphan = agent.directory() + "/missing/file";
  auto const refused = agent.request("PUT", write_target(orphan, "&mkdir=false"), "x");
  CHECK(refused.status == 404);
  CHECK_FALSE(fs::exists(agent.directory() + "/missing"));
}

TEST_CASE("a chunked body is written like any other", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/chunked";
  auto connection = agent.connect();
  connection.send("PUT " + write_target(path) + " HTTP/1.1\r\nHost: a\r\nX-Sandbox-Token: " +
                  agent.token() + "\r\nTransfer-Encoding: chunked\r\n\r\n");
  connection.send("5\r\nhello\r\n");
  connection.send("6\r\n world\r\n0\r\n\r\n");
  auto const answer = connection.read_answer();
  CHECK(answer.status == 200);
  CHECK(answer.json().at("size") == 11);
  CHECK(slurp(path) == "hello world");
}

TEST_CASE("an existing file is replaced by a new one that keeps its mode and owner", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/file";
  spill(path, "old content");
  REQUIRE(::chmod(path.c_str(), 0640) == 0);
  bool const root = ::geteuid() == 0;
  if (root)
    REQUIRE(::chown(path.c_str(), 1234, 2345) == 0);
  auto const before = stat_of(path);

  CHECK(agent.request("PUT", write_target(path), "new").status == 200);
  auto const after = stat_of(path);
  CHECK(slurp(path) == "new");
  CHECK(after.st_ino != before.st_ino);
  CHECK((after.st_mode & 07777) == 0640);
  CHECK(after.st_uid == before.st_uid);
  CHECK(after.st_gid == before.st_gid);

  CHECK(agent.request("PUT", write_target(path, "&mode=755"), "new").status == 200);
  CHECK((stat_of(path).st_mode & 07777) == 0755);
}

TEST_CASE("a reader sees the old or the new content, never a mixture", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/file";
  std::string const old_content(400'000, 'o');
  spill(path, old_content);
  auto connection = agent.connect();
  connection.send("PUT " + write_target(path) + " HTTP/1.1\r\nHost: a\r\nX-Sandbox-Token: " +
                  agent.token() + "\r\nContent-Length: 400000\r\n\r\n");
  connection.send(std::string(200'000, 'n'));
  CHECK(agent.request("GET", "/v1/files/read?path=" + percent(path)).body == old_content);
  connection.send(std::string(200'000, 'n'));
  CHECK(connection.read_answer().status == 200);
  CHECK(slurp(path) == std::string(400'000, 'n'));
}

TEST_CASE("a broken upload leaves the old content and no temporary file", "[files]") {
  agent_process agent;
  fs::create_directory(agent.directory() + "/d");
  auto const path = agent.directory() + "/d/file";
  spill(path, "old content");
  for (auto const* name : {"/d/file", "/d/new"}) {
    auto connection = agent.connect();
    connection.send("PUT " + write_target(agent.directory() + name) +
                    " HTTP/1.1\r\nHost: a\r\nX-Sandbox-Token: " + agent.token() +
                    "\r\nContent-Length: 1000000\r\n\r\n" + noise(300'000));
    connection.close();
  }
  // Whatever the broken uploads held is gone once the agent has noticed.
  std::string const only = "file";
  auto const until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  // A plain user may not look into an agent, which is not dumpable: the names have to do then.
  auto const open_files = [&] {
    std::size_t held = 0;
    std::error_code denied;
    for (auto const& fd :
         fs::directory_iterator("/proc/" + std::to_string(agent.pid()) + "/fd", denied)) {
      std::error_code ignored;
      held += fs::read_symlink(fd.path(), ignored).string().find(agent.directory() + "/d") == 0;
    }
    return held;
  };
  while ((open_files() != 0 || names_in(agent.directory() + "/d").size() != 1) &&
         std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(names_in(agent.directory() + "/d") == std::vector<std::string>{only});
  CHECK(open_files() == 0);
  CHECK(slurp(path) == "old content");
}

TEST_CASE("a write with an offset goes in place and truncate_to sets the final size", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/file";
  spill(path, "0123456789");
  auto const inode = stat_of(path).st_ino;
  CHECK(agent.request("PUT", write_target(path, "&offset=3"), "xyz").status == 200);
  CHECK(slurp(path) == "012xyz6789");
  CHECK(stat_of(path).st_ino == inode);
  auto const cut = agent.request("PUT", write_target(path, "&offset=8&truncate_to=9"), "ab");
  CHECK(cut.status == 200);
  CHECK(cut.json().at("size") == 2);
  CHECK(slurp(path) == "012xyz67a");
  CHECK(agent.request("PUT", write_target(path, "&truncate_to=5"), "ab").status == 200);
  CHECK(slurp(path) == std::string("ab\0\0\0", 5));
  CHECK(agent.request("PUT", write_target(path, "&truncate_to=1"), "ab").status == 200);
  CHECK(slurp(path) == "a");

  auto const fresh = agent.directory() + "/new/fresh";
  CHECK(agent.request("PUT", write_target(fresh, "&offset=4&mode=600"), "end").status == 200);
  CHECK(slurp(fresh) == std::string("\0\0\0\0end", 7));
  CHECK((stat_of(fresh).st_mode & 07777) == 0600);
}

TEST_CASE("malformed write parameters change nothing", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/file";
  spill(path, "old");
  for (auto const* bad :
       {"&mode=4755", "&mode=2755", "&mode=1777", "&mode=8", "&mode=", "&mode=rwx", "&mode=-1",
        "&mode=0o644", "&offset=-1", "&offset=x", "&truncate_to=-1", "&truncate_to=1k",
        "&mkdir=maybe", "&atomic=yes", "&op=12", "&offset=9223372036854775807",
        "&op=zz112233445566778899aabbccddeeff", "&atomic=require&offset=1"}) {
    INFO(bad);
    auto const refused = agent.request("PUT", write_target(path, bad), "new");
    CHECK((refused.status == 400 || refused.status == 409));
    CHECK(refused.json().contains("code"));
    CHECK(slurp(path) == "old");
  }
  CHECK(agent.request("PUT", "/v1/files/write", "x").status == 400);
  auto const directory = agent.request("PUT", write_target(agent.directory()), "x");
  CHECK(directory.status == 400);
  CHECK(directory.json().at("code") == "is_directory");
  CHECK(directory.json().at("error") ==
        "cannot write " + agent.directory() + ": Is a directory (os error 21)");
  CHECK(agent.request("PUT", write_target(path + "/"), "x").status == 400);
  CHECK(agent.request("PUT", write_target(path + "/x"), "x").json().at("code") == "not_directory");
  CHECK(slurp(path) == "old");
}

TEST_CASE("links are resolved first and stay links", "[files]") {
  agent_process agent;
  auto const d = agent.directory();
  fs::create_directory(d + "/elsewhere");
  spill(d + "/elsewhere/target", "old");
  fs::create_symlink("elsewhere/target", d + "/one");
  fs::create_symlink(d + "/one", d + "/two");
  auto const written = agent.request("PUT", write_target(d + "/two"), "through two links");
  CHECK(written.status == 200);
  CHECK_FALSE(written.json().contains("atomic"));
  CHECK(fs::is_symlink(d + "/one"));
  CHECK(fs::is_symlink(d + "/two"));
  CHECK(slurp(d + "/elsewhere/target") == "through two links");

  fs::create_symlink("elsewhere/made", d + "/dangling");
  CHECK(agent.request("PUT", write_target(d + "/dangling"), "made").status == 200);
  CHECK(slurp(d + "/elsewhere/made") == "made");

  fs::create_symlink("loop", d + "/loop");
  CHECK(agent.request("PUT", write_target(d + "/loop"), "x").status == 400);
}

TEST_CASE("a file with several links is written in place and says so", "[files]") {
  agent_process agent;
  auto const d = agent.directory();
  spill(d + "/first", "a longer old content");
  fs::create_hard_link(d + "/first", d + "/second");
  auto const refused = agent.request("PUT", write_target(d + "/first", "&atomic=require"), "new");
  CHECK(refused.status == 409);
  CHECK(refused.json().at("code") == "conflict");
  CHECK(slurp(d + "/second") == "a longer old content");
  auto const written = agent.request("PUT", write_target(d + "/first"), "new");
  CHECK(written.status == 200);
  CHECK(written.json().at("atomic") == false);
  CHECK(slurp(d + "/second") == "new");
  // Even so a broken upload leaves the old content: it was received beside it.
  {
    auto connection = agent.connect();
    connection.send("PUT " + write_target(d + "/first") +
                    " HTTP/1.1\r\nHost: a\r\nX-Sandbox-Token: " + agent.token() +
                    "\r\nContent-Length: 1000\r\n\r\nhalf");
  }
  CHECK(agent.request("GET", "/health").status == 200);
  CHECK(slurp(d + "/second") == "new");
}

TEST_CASE("a mount point is written in place and says so", "[files]") {
  if (::geteuid() != 0)
    SKIP("only root can mount");
  agent_process agent;
  auto const d = agent.directory();
  spill(d + "/source", "old");
  spill(d + "/point", "covered");
  if (::mount((d + "/source").c_str(), (d + "/point").c_str(), nullptr, MS_BIND, nullptr) != 0)
    SKIP("mounting is not permitted here");
  auto const refused = agent.request("PUT", write_target(d + "/point", "&atomic=require"), "new");
  auto const written = agent.request("PUT", write_target(d + "/point"), "new");
  auto const seen = slurp(d + "/source");
  auto const names = names_in(d);
  REQUIRE(::umount(((d + "/point")).c_str()) == 0);
  CHECK(refused.status == 409);
  CHECK(written.status == 200);
  CHECK(written.json().at("atomic") == false);
  CHECK(seen == "new");
  CHECK(slurp(d + "/point") == "covered");
  for (auto const& name : names)
    CHECK(name.find(".hf-") == std::string::npos);
}

TEST_CASE("what a call has answered for can be unmounted at once", "[files]") {
  if (::geteuid() != 0)
    SKIP("only root can mount");
  agent_process agent;
  auto const d = agent.directory() + "/mounted";
  fs::create_directory(d);
  auto const large = noise(3'000'000);
  for (int round = 0; round < 20; ++round) {
    if (::mount("tmpfs", d.c_str(), "tmpfs", 0, "size=8m") != 0)
      SKIP("mounting is not permitted here");
    auto const busy = [&] { return ::umount(d.c_str()) != 0; };
    auto const again = [&] { return ::mount("tmpfs", d.c_str(), "tmpfs", 0, "size=8m") == 0; };
    CHECK(agent.request("PUT", write_target(d + "/new"), "x").status == 200);
    CHECK_FALSE(busy());
    REQUIRE(again());
    spill(d + "/file", large);
    fs::create_hard_link(d + "/file", d + "/link");
    CHECK(agent.request("PUT", write_target(d + "/file"), large).json().at("atomic") == false);
    CHECK_FALSE(busy());
    REQUIRE(again());
    CHECK(agent.request("PUT", write_target(d + "/part", "&offset=5"), large).status == 200);
    CHECK_FALSE(busy());
    REQUIRE(again());
    spill(d + "/file", large);
    CHECK(agent.request("GET", "/v1/files/read?path=" + percent(d + "/file")).body == large);
    CHECK_FALSE(busy());
    REQUIRE(again());
    spill(d + "/empty", "");
    CHECK(agent.request("GET", "/v1/files/read?path=" + percent(d + "/empty")).status == 200);
    CHECK_FALSE(busy());
    REQUIRE(again());
    spill(d + "/file", large.substr(0, 1000));
    CHECK(agent.request("HEAD", "/v1/files/read?path=" + percent(d + "/file")).status == 200);
    CHECK(agent.request("GET", "/v1/files/read?path=" + percent(d + "/file")).status == 200);
    CHECK(agent.request("GET", "/v1/files/list?path=" + percent(d)).status == 200);
    CHECK(agent.request("GET", "/v1/files/stat?path=" + percent(d + "/file")).status == 200);
    CHECK_FALSE(busy());
    REQUIRE(again());
    CHECK(agent.request("POST", "/v1/files/mkdir?path=" + percent(d + "/a/b")).status == 200);
    CHECK(
        agent.request("DELETE", "/v1/files/delete?recursive=1&path=" + percent(d + "/a")).status ==
        200);
    CHECK(agent.request("PUT", write_target(d + "/sub/"), "x").status == 400);
    CHECK_FALSE(busy());
  }
}

TEST_CASE("an unwritable directory makes a write go in place", "[files]") {
  agent_process agent;
  auto const d = agent.directory() + "/d";
  fs::create_directory(d);
  spill(d + "/file", "a longer old content");
  spill(agent.directory() + "/foreign", "old");
  for (auto const& path : {d + "/file", agent.directory() + "/foreign"})
    REQUIRE(::chmod(path.c_str(), 0666) == 0);
  REQUIRE(::chmod(d.c_str(), 0555) == 0);

  // Root may write everywhere, so a plain user's agent answers where the test runs as root.
  auto const home = agent.directory() + "/home";
  std::optional<agent_process> user;
  if (::geteuid() == 0) {
    if (::access("/usr/bin/setpriv", X_OK) != 0)
      SKIP("setpriv is not installed");
    fs::create_directory(home);
    REQUIRE(::chown(home.c_str(), 65534, 65534) == 0);
    REQUIRE(::chmod(agent.directory().c_str(), 0755) == 0);
    fs::copy_file(std::getenv("HF_SANDBOX_AGENT"), home + "/program");
    agent_options options;
    options.binary = home + "/program";
    options.prefix = {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534",
                      "--clear-groups",   "/usr/bin/env",  "SBX_SOCKET=" + home + "/agent.sock"};
    options.wait_until_healthy = false;
    user.emplace(options);
  }
  auto const write = [&](std::string const& path, std::string const& more = "") {
    if (!user)
      return agent.request("PUT", write_target(path, more), "new");
    auto const until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    std::optional<raw_http> opened;
    while (!opened) {
      try {
        opened.emplace(raw_http::unix_socket(home + "/agent.sock"));
      } catch (std::runtime_error const&) {
        // Not there yet, or there but nobody listens yet.
        REQUIRE(std::chrono::steady_clock::now() < until);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    }
    auto& connection = *opened;
    connection.send_request("PUT", write_target(path, more), user->token(), "new");
    return connection.read_answer();
  };

  CHECK(write(d + "/file", "&atomic=require").status == 409);
  CHECK(slurp(d + "/file") == "a longer old content");
  auto const written = write(d + "/file");
  CHECK(written.status == 200);
  CHECK(written.json().value("atomic", true) == false);
  CHECK(slurp(d + "/file") == "new");
  auto const denied = write(d + "/other");
  CHECK(denied.status == 400);
  CHECK(denied.json().at("code") == "permission_denied");
  REQUIRE(::chmod((d + "/file").c_str(), 0444) == 0);
  CHECK(write(d + "/file").json().at("code") == "permission_denied");
  if (user) {
    // Somebody else's file in a directory of one's own: only in place it keeps its owner.
    fs::rename(agent.directory() + "/foreign", home + "/foreign");
    CHECK(write(home + "/foreign").json().value("atomic", true) == false);
    CHECK(slurp(home + "/foreign") == "new");
    CHECK(stat_of(home + "/foreign").st_uid == 0);
  }
  REQUIRE(::chmod(d.c_str(), 0755) == 0);
}

TEST_CASE("devices are written through, FIFOs and sockets are refused at once", "[files]") {
  agent_process agent;
  auto const into_null = agent.request("PUT", write_target("/dev/null"), noise(200'000));
  CHECK(into_null.status == 200);
  CHECK(into_null.json().at("size") == 200'000);
  CHECK(into_null.json().at("atomic") == false);
  auto const full = agent.request("PUT", write_target("/dev/full"), "x");
  CHECK(full.status == 400);
  CHECK(full.json().at("code") == "no_space");
  auto const fifo = agent.directory() + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  for (auto const* offset : {"", "&offset=0"}) {
    auto const refused = agent.request("PUT", write_target(fifo, offset), "x");
    CHECK(refused.status == 400);
    CHECK(refused.json().at("code") == "not_regular");
    CHECK(refused.json().at("error") == "cannot write " + fifo + ": not a regular file");
  }
}

TEST_CASE("a full disk is a typed error that leaves the old content and nothing else", "[files]") {
  if (::geteuid() != 0)
    SKIP("only root can mount a small file system");
  agent_process agent;
  auto const d = agent.directory() + "/small";
  fs::create_directory(d);
  if (::mount("tmpfs", d.c_str(), "tmpfs", 0, "size=1m") != 0)
    SKIP("mounting is not permitted here");
  spill(d + "/file", "old content");
  auto const big = noise(3'000'000);
  auto const replaced = agent.request("PUT", write_target(d + "/file"), big);
  auto const created = agent.request("PUT", write_target(d + "/sub/new"), big);
  auto const named =
      agent.request("PUT", write_target(d + "/file", "&op=00112233445566778899aabbccddeeff"),
                    big.substr(0, 1'000'000) + big.substr(0, 48'000));
  fs::create_hard_link(d + "/file", d + "/link");
  auto const in_place = agent.request("PUT", write_target(d + "/link"), big);
  auto const content = slurp(d + "/file");
  auto const names = names_in(d);
  bool const left = fs::exists(d + "/sub/new");
  auto const fits = agent.request("PUT", write_target(d + "/file"), "new content");
  auto const after = slurp(d + "/link");
  REQUIRE(::umount2(d.c_str(), MNT_DETACH) == 0);
  for (auto const* answer : {&replaced, &created, &named, &in_place}) {
    CHECK(answer->status == 400);
    CHECK(answer->json().at("code") == "no_space");
  }
  CHECK(content == "old content");
  CHECK(names == std::vector<std::string>{"file", "link", "sub"});
  CHECK_FALSE(left);
  CHECK(fits.status == 200);
  CHECK(after == "new content");
}

TEST_CASE("without descriptors a write is a 503 and the agent goes on", "[files]") {
  if (::geteuid() != 0)
    SKIP("only root may look into an agent, which is not dumpable");
  agent_process agent;
  auto const path = agent.directory() + "/file";
  spill(path, "old");
  auto connection = agent.connect();
  auto const ask = [&](std::string const& method, std::string const& target, std::string body) {
    connection.send_request(method, target, agent.token(), body);
    return connection.read_answer();
  };
  REQUIRE(ask("GET", "/v1/files/stat?path=/", "").status == 200);
  std::size_t used = names_in("/proc/" + std::to_string(agent.pid()) + "/fd").size();
  rlimit before{};
  REQUIRE(::prlimit(agent.pid(), RLIMIT_NOFILE, nullptr, &before) == 0);
  rlimit none{used, before.rlim_max};
  REQUIRE(::prlimit(agent.pid(), RLIMIT_NOFILE, &none, nullptr) == 0);
  auto const write = ask("PUT", write_target(path), "new");
  auto const read = ask("GET", "/v1/files/read?path=" + percent(path), "");
  REQUIRE(::prlimit(agent.pid(), RLIMIT_NOFILE, &before, nullptr) == 0);
  CHECK(write.status == 503);
  CHECK(write.json().at("code") == "resource_exhausted");
  CHECK(read.status == 503);
  CHECK(slurp(path) == "old");
  CHECK(ask("PUT", write_target(path), "new").status == 200);
  CHECK(slurp(path) == "new");
}
