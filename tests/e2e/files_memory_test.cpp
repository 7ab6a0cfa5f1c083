#include "support/agent_process.hpp"
#include "support/file_helpers.hpp"
#include "support/scale.hpp"

#include <hf/sandbox/files.hpp>
#include <hf/sandbox/transports/curl.hpp>

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <sstream>
#include <string>

using namespace hf::testing_support;
namespace fs = std::filesystem;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool memory_means_something = false;
#else
constexpr bool memory_means_something = true;
#endif

/// Highest resident memory of a process since `forget_peak`, in KiB.
long peak_memory(std::string const& pid) {
  std::istringstream status(slurp("/proc/" + pid + "/status"));
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0)
      return std::stol(line.substr(6));
  return -1;
}

void forget_peak(std::string const& pid) {
  std::ofstream("/proc/" + pid + "/clear_refs") << "5";
}

bool same_content(fs::path const& a, fs::path const& b) {
  std::ifstream x(a, std::ios::binary);
  std::ifstream y(b, std::ios::binary);
  std::vector<char> p(1 << 20);
  std::vector<char> q(1 << 20);
  for (;;) {
    x.read(p.data(), static_cast<std::streamsize>(p.size()));
    y.read(q.data(), static_cast<std::streamsize>(q.size()));
    if (x.gcount() != y.gcount() || !std::equal(p.begin(), p.begin() + x.gcount(), q.begin()))
      return false;
    if (x.gcount() == 0)
      return true;
  }
}

}  // namespace

TEST_CASE("a large file goes in and out with flat memory on both sides", "[files]") {
  auto const size = scaled(std::uint64_t{1} << 30, std::uint64_t{256} << 20);
  WARN("bytes: " << size);
  agent_process agent({.tcp = true});
  auto const local = agent.directory() + "/local";
  {
    std::ofstream out(local, std::ios::binary);
    for (std::uint64_t done = 0; done < size; done += 1 << 20)
      out << noise(1 << 20, done + 1);
  }
  hf::curl_transport transport;
  hf::endpoint to;
  to.url = "http://127.0.0.1:" + std::to_string(agent.port());
  to.headers.add("X-Sandbox-Token", agent.token());
  auto const client = std::make_shared<hf::agent_client<hf::curl_transport>>(transport, to);
  hf::basic_files<hf::curl_transport> files(client);
  auto const remote = agent.directory() + "/remote";
  auto const here = std::to_string(::getpid());
  auto const there = std::to_string(agent.pid());
  files.write(remote, "connections and buffers are there");

  for (std::size_t const streams : {1, 16}) {
    hf::transfer_options transfer;
    transfer.streams = streams;
    forget_peak(here);
    forget_peak(there);
    auto const here_before = peak_memory(here);
    auto const there_before = peak_memory(there);
    files.upload(local, remote, {.transfer = transfer});
    files.download(remote, agent.directory() + "/back", transfer);
    auto const here_growth = peak_memory(here) - here_before;
    auto const there_growth = peak_memory(there) - there_before;
    WARN("streams: " << streams << ", growth in KiB: client " << here_growth << ", agent "
                     << there_growth);
    CHECK(same_content(local, remote));
    CHECK(same_content(local, agent.directory() + "/back"));
    if (memory_means_something) {
      CHECK(here_growth < 32 * 1024);
      CHECK(there_growth < 32 * 1024);
    }
    fs::remove(remote);
    fs::remove(agent.directory() + "/back");
  }
}
