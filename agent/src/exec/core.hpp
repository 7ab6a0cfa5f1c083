#ifndef HF_SANDBOX_AGENT_EXEC_CORE_HPP
#define HF_SANDBOX_AGENT_EXEC_CORE_HPP

#include "context.hpp"
#include "detail/blocking_pool.hpp"
#include "exec/log_budget.hpp"
#include "exec/marker_reader.hpp"
#include "exec/reaper.hpp"
#include "exec/settings.hpp"

#include <boost/asio/thread_pool.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <vector>

namespace hf::agent {

/// What all runs of an agent share.
struct exec_core {
  explicit exec_core(context& of, exec_settings bounds = {})
      : shared(of), settings(bounds), children(of.loop) {
    budget.memory_limit = bounds.memory;
    budget.disk_limit = bounds.disk;
    marker_reader::common();
  }

  context& shared;
  exec_settings settings;
  reaper children;
  log_budget budget;
  /// Kills trees. Its own thread, so that file operations that hang cannot keep a timeout from
  /// being enforced.
  boost::asio::thread_pool sweeper{1};
  /// Moves output to the disk and back. Its own threads, so that file operations that hang do not
  /// keep output.
  blocking_pool disk{{1, 8}};
  /// Parses large requests. Nothing that runs here can hang.
  boost::asio::thread_pool parser{1};
  /// What a pipe is read into; used between two suspensions only.
  std::vector<char> scratch = std::vector<char>(256 * 1024);
  /// Each frees memory of ended runs; of those who keep them.
  std::list<std::function<void()>> relievers = {};
  void relieve() const {
    for (auto const& one : relievers)
      one();
  }
  /// Number of the next id "p-N".
  std::uint64_t next_id = 0;
  std::uint64_t next_serial = 0;
};

/// On whose account a run goes: the machine's, or one sandbox's among several.
struct run_account {
  /// The idle clock that a run and its output keep from running.
  hf::agent::activity* activity;
  log_budget* budget;
  /// What both live in, where that is not the machine; a run can outlive its sandbox by a moment.
  std::shared_ptr<void const> keep = {};
};

}  // namespace hf::agent

#endif
