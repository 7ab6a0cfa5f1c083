#include "support/agent_process.hpp"
#include "support/faulty_proxy.hpp"
#include "support/file_helpers.hpp"
#include "support/kind_of.hpp"
#include "support/sandbox_types.hpp"

#include <hf/sandbox/files.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>

using namespace hf::testing_support;
namespace fs = std::filesystem;

namespace {

/// The file view of an agent, through a transport of its own.
template <class Transport>
struct file_client {
  explicit file_client(agent_process const& agent, std::string socket = {}) {
    hf::endpoint to;
    to.url =
        agent.port() != 0 ? "http://127.0.0.1:" + std::to_string(agent.port()) : "http://localhost";
    to.unix_socket = socket.empty() ? agent.socket_path() : std::move(socket);
    to.headers.add("X-Sandbox-Token", agent.token());
    client = std::make_shared<hf::agent_client<Transport>>(transport, to);
  }
  hf::basic_files<Transport> files() { return hf::basic_files<Transport>(client); }

  Transport transport;
  std::shared_ptr<hf::agent_client<Transport>> client;
};

}  // namespace

TEMPLATE_TEST_CASE("the file view does what it says", "[files]", HF_SANDBOX_TEST_TRANSPORTS) {
  agent_process agent;
  file_client<TestType> client(agent);
  auto files = client.files();
  auto const d = agent.directory() + "/d";

  files.make_directory(d + "/sub");
  files.make_directory(d + "/sub");
  auto const content = noise(5'000'000);
  auto const written = files.write(d + "/file", content, {.mode = 0640});
  CHECK(written.size == content.size());
  CHECK(written.atomic);
  CHECK(files.read(d + "/file") == content);
  CHECK(files.read("/proc/version") == slurp("/proc/version"));
  files.write(d + "/empty", "");
  CHECK(files.read(d + "/empty").empty());

  auto const entry = files.stat(d + "/file");
  CHECK(entry.name == "file");
  CHECK(entry.size == content.size());
  CHECK(entry.mode == 0640);
  CHECK(entry.type == hf::file_type::file);
  CHECK(files.exists(d + "/sub"));
  CHECK_FALSE(files.exists(d + "/none"));
  std::vector<std::string> names;
  for (auto const& found : files.list(d))
    names.push_back(found.name);
  CHECK(names == std::vector<std::string>{"empty", "file", "sub"});
  CHECK(files.list_page(d, "empty", 1).next == "file");

  CHECK(kind_of([&] { static_cast<void>(files.read(d + "/none")); }) == hf::errc::not_found);
  CHECK(kind_of([&] { static_cast<void>(files.read(d)); }) == hf::errc::is_directory);
  CHECK(kind_of([&] { static_cast<void>(files.read("/dev/zero")); }) == hf::errc::not_regular);
  CHECK(kind_of([&] { static_cast<void>(files.list(d + "/file")); }) == hf::errc::not_directory);
  CHECK(kind_of([&] { files.write(d, "x"); }) == hf::errc::is_directory);
  CHECK(kind_of([&] { files.write("/dev/full", "x"); }) == hf::errc::no_space);
  CHECK(kind_of([&] { files.write("", "x"); }) == hf::errc::invalid_argument);
  CHECK(kind_of([&] { files.write(std::string("/a\0b", 4), "x"); }) == hf::errc::invalid_argument);
  CHECK(kind_of([&] { files.write(d + "/file", "x", {.mode = 04755}); }) ==
        hf::errc::invalid_argument);
  CHECK(kind_of([&] { files.write(d + "/file", "x", {.mode = -1}); }) ==
        hf::errc::invalid_argument);
  CHECK(kind_of([&] { files.write(d + "/no/file", "x", {.make_parents = false}); }) ==
        hf::errc::not_found);
  CHECK(kind_of([&] { static_cast<void>(files.read(d + "/file", {.max_size = 1000})); }) ==
        hf::errc::too_large);
  CHECK(kind_of([&] { files.remove(d); }) == hf::errc::not_empty);
  CHECK(kind_of([&] { files.remove(d + "/none"); }) == hf::errc::not_found);
  fs::create_hard_link(d + "/file", d + "/link");
  CHECK(kind_of([&] { files.write(d + "/link", "x", {.require_atomic = true}); }) ==
        hf::errc::conflict);
  CHECK_FALSE(files.write(d + "/link", "x").atomic);
  files.remove(d, true);
  CHECK_FALSE(files.exists(d));
}

TEMPLATE_TEST_CASE("files travel in one stream and in many, byte for byte", "[files]",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  agent_process agent;
  file_client<TestType> client(agent);
  auto files = client.files();
  auto const local = agent.directory() + "/local";
  auto const remote = agent.directory() + "/remote/file";
  for (std::size_t const size : {std::size_t{0}, std::size_t{1}, std::size_t{2} << 20,
                                 (std::size_t{2} << 20) + 1, std::size_t{20'000'001}}) {
    auto const content = noise(size, size + 7);
    spill(local, content);
    for (std::size_t const streams : {1, 5}) {
      INFO("size " << size << ", streams " << streams);
      // Longer than what comes, so that a missing cut shows.
      fs::create_directories(agent.directory() + "/remote");
      spill(remote, noise(size + 1000));
      auto const caller = std::this_thread::get_id();
      std::uint64_t last = 0;
      bool foreign = false;
      hf::transfer_options transfer;
      transfer.streams = streams;
      transfer.on_progress = [&](hf::transfer_progress const& now) {
        foreign = foreign || std::this_thread::get_id() != caller;
        CHECK(now.done >= last);
        last = now.done;
        if (now.total != 0)
          CHECK(now.total == size);
      };
      auto const result = files.upload(local, remote, {.mode = 0600, .transfer = transfer});
      CHECK(result.size == size);
      CHECK(slurp(remote) == content);
      CHECK(last == size);
      last = 0;
      files.download(remote, agent.directory() + "/back", transfer);
      CHECK(slurp(agent.directory() + "/back") == content);
      CHECK(last == size);
      last = 0;
      CHECK(files.read(remote, {.transfer = transfer}) == content);
      CHECK_FALSE(foreign);
    }
  }
  struct stat st {};
  REQUIRE(::stat(remote.c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0600);
}

TEST_CASE("a download appears under its name only when it is complete", "[files]") {
  agent_process agent;
  file_client<hf::curl_transport> client(agent);
  auto files = client.files();
  auto const d = agent.directory() + "/here";
  fs::create_directory(d);
  auto const remote = agent.directory() + "/remote";
  auto const content = noise(8 << 20);
  spill(remote, content);
  spill(d + "/file", "old");

  std::set<std::string> seen;
  mode_t part_mode = 0;
  hf::transfer_options watch;
  watch.on_progress = [&](hf::transfer_progress const&) {
    for (auto const& name : names_in(d)) {
      seen.insert(name.substr(0, 6));
      struct stat st {};
      if (name != "file" && ::stat((d + "/" + name).c_str(), &st) == 0)
        part_mode = st.st_mode & 07777;
    }
    CHECK(slurp(d + "/file") == "old");
  };
  auto const mask = ::umask(027);
  files.download(remote, d + "/file", watch);
  ::umask(mask);
  CHECK(slurp(d + "/file") == content);
  CHECK(names_in(d) == std::vector<std::string>{"file"});
  CHECK(seen == std::set<std::string>{".file.", "file"});
  CHECK(part_mode == 0600);
  struct stat st {};
  REQUIRE(::stat((d + "/file").c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0640);

  // Every way to fail leaves the old file, and nothing beside it.
  struct interruption {};
  for (std::size_t const streams : {1, 4}) {
    hf::transfer_options failing;
    failing.streams = streams;
    failing.on_progress = [](hf::transfer_progress const& now) {
      if (now.done > (3 << 20))
        throw interruption{};
    };
    CHECK_THROWS_AS(files.download(remote, d + "/file", failing), interruption);
    CHECK(names_in(d) == std::vector<std::string>{"file"});
  }
  CHECK(kind_of([&] { files.download(remote + "-none", d + "/file"); }) == hf::errc::not_found);
  CHECK(kind_of([&] { files.download("/dev/zero", d + "/file"); }) == hf::errc::not_regular);
  CHECK(kind_of([&] { files.download(remote, d); }) == hf::errc::is_directory);
  CHECK(kind_of([&] { files.download(remote, d + "/no/file"); }) == hf::errc::not_found);
  CHECK(kind_of([&] { files.upload(d + "/none", remote); }) == hf::errc::not_found);
  CHECK(kind_of([&] { files.upload(d, remote); }) == hf::errc::is_directory);
  CHECK(names_in(d) == std::vector<std::string>{"file"});
  CHECK(slurp(d + "/file") == content);
  CHECK(slurp(remote) == content);
}

#if defined(__cpp_lib_jthread)
TEST_CASE("a transfer ends when it is told to", "[files]") {
  agent_process agent;
  file_client<hf::curl_transport> client(agent);
  auto files = client.files();
  auto const remote = agent.directory() + "/remote";
  spill(remote, noise(16 << 20));
  for (std::size_t const streams : {1, 4}) {
    std::stop_source stop;
    hf::transfer_options options;
    options.streams = streams;
    options.stop = stop.get_token();
    options.on_progress = [&](hf::transfer_progress const& now) {
      if (now.done > (4 << 20))
        stop.request_stop();
    };
    CHECK(kind_of([&] { files.download(remote, agent.directory() + "/local", options); }) ==
          hf::errc::cancelled);
    CHECK_FALSE(fs::exists(agent.directory() + "/local"));
  }
  hf::transfer_options late;
  late.deadline = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  CHECK(kind_of([&] { static_cast<void>(files.read(remote, {.transfer = late})); }) ==
        hf::errc::request_timed_out);
}
#endif

TEMPLATE_TEST_CASE("broken connections change neither the content nor the outcome", "[files]",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  agent_process agent;
  auto const through = agent.directory() + "/proxy.sock";
  std::atomic<int> cuts{0};
  std::atomic<bool> armed{false};
  // Two of three connections break somewhere in the first megabyte, in either direction.
  faulty_proxy proxy(through, agent.socket_path(), [&](int connection) {
    connection_fault fault;
    if (armed && connection % 3 != 0) {
      ++cuts;
      fault.what = connection_fault::kind::cut;
      fault.count_client = connection % 2 == 0;
      fault.after = static_cast<std::uint64_t>(connection) * 77'777 % 1'000'000;
    }
    return fault;
  });
  file_client<TestType> client(agent, through);
  auto files = client.files();
  // The agent's instance is learnt before anything breaks.
  static_cast<void>(files.stat("/"));
  armed = true;
  auto const local = agent.directory() + "/local";
  for (int round = 0; round < 3; ++round) {
    auto const content = noise(3'000'000, static_cast<std::uint64_t>(round) + 1);
    spill(local, content);
    auto const remote = agent.directory() + "/remote" + std::to_string(round);
    hf::transfer_options transfer;
    transfer.streams = round == 2 ? 4 : 1;
    CHECK(files.upload(local, remote, {.transfer = transfer}).size == content.size());
    CHECK(slurp(remote) == content);
    files.download(remote, agent.directory() + "/back", transfer);
    CHECK(slurp(agent.directory() + "/back") == content);
    files.remove(remote);
    CHECK_FALSE(fs::exists(remote));
  }
  CHECK(cuts > 0);
}

TEST_CASE("a file that changes under a download is told, never mixed silently", "[files]") {
  agent_process agent;
  file_client<hf::curl_transport> client(agent);
  auto files = client.files();
  auto const remote = agent.directory() + "/remote";
  spill(remote, noise(12 << 20));
  hf::transfer_options options;
  options.streams = 3;
  bool changed = false;
  options.on_progress = [&](hf::transfer_progress const& now) {
    if (changed || now.done < (6 << 20))
      return;
    changed = true;
    fs::resize_file(remote, (12 << 20) - 1);
    fs::resize_file(remote, 12 << 20);
  };
  CHECK(kind_of([&] { files.download(remote, agent.directory() + "/local", options); }) ==
        hf::errc::conflict);
  CHECK_FALSE(fs::exists(agent.directory() + "/local"));
}

TEST_CASE("names of any bytes come and go", "[files]") {
  agent_process agent;
  file_client<hf::curl_transport> client(agent);
  auto files = client.files();
  auto const d = agent.directory() + "/d";
  std::vector<std::string> odd{"line\nbreak", "latin\xe9", "a+b %41?&=#", "\xff\xfe", " "};
  for (auto const& name : odd)
    files.write(d + "/" + name, name);
  std::sort(odd.begin(), odd.end());
  std::vector<std::string> names;
  std::string after;
  for (;;) {
    auto const page = files.list_page(d, after, 1);
    for (auto const& entry : page.entries) {
      names.push_back(entry.name);
      CHECK(files.read(entry.path) == entry.name);
    }
    if (!page.truncated)
      break;
    after = page.next.value();
  }
  CHECK(names == odd);
}

TEMPLATE_TEST_CASE("files whose size lies are uploaded right, and files that change are refused",
                   "[files]", HF_SANDBOX_TEST_TRANSPORTS) {
  agent_process agent;
  file_client<TestType> client(agent);
  auto files = client.files();
  auto const d = agent.directory() + "/lies";
  files.make_directory(d);
  // The kernel announces 0 bytes for the first two, and a page for the third.
  for (std::string const name : {"/proc/version", "/proc/self/maps", "/sys/kernel/notes",
                                 "/sys/kernel/mm/transparent_hugepage/enabled"}) {
    if (!fs::exists(name))
      continue;
    INFO(name);
    auto const result = files.upload(name, d + "/copy");
    auto const copy = slurp(d + "/copy");
    CHECK_FALSE(copy.empty());
    CHECK(result.size == copy.size());
    if (name != "/proc/self/maps")
      CHECK(copy == slurp(name));
  }

  for (std::size_t const streams : {std::size_t{1}, std::size_t{4}}) {
    for (bool const grows : {true, false}) {
      INFO(streams << (grows ? " grows" : " shrinks"));
      auto const local = d + "/changing";
      auto const content = noise(6'000'000);
      std::ofstream(local, std::ios::binary) << content;
      files.write(d + "/target", "as before");
      bool changed = false;
      hf::transfer_options transfer;
      transfer.streams = streams;
      transfer.threshold = 1'000'000;
      transfer.on_progress = [&](hf::transfer_progress const&) {
        if (std::exchange(changed, true))
          return;
        if (grows)
          std::ofstream(local, std::ios::binary | std::ios::app) << "more";
        else
          fs::resize_file(local, 100'000);
      };
      CHECK(kind_of([&] { files.upload(local, d + "/target", {.transfer = transfer}); }) ==
            hf::errc::conflict);
      CHECK(changed);
      // In one stream nothing is put in place.
      if (streams == 1)
        CHECK(slurp(d + "/target") == "as before");
    }
  }
}
