#include "exec/marker_reader.hpp"

#include <condition_variable>
#include <cstddef>
#include <utility>

namespace hf::agent {

// Processes that one thread reads one after the other. Shared with that thread, which may hang.
struct marker_reader::round {
  std::vector<process_info> processes = {};
  std::mutex mutex = {};
  std::condition_variable progress = {};
  /// So many have been read, or given up before.
  std::size_t done = 0;
  /// Whoever read has been given up.
  bool abandoned = false;
  std::unordered_map<pid_t, std::string> found = {};

  void run(marker_reader& owner) {
    for (auto const& process : processes) {
      auto marker = owner.read_(process.pid);
      std::lock_guard const lock(mutex);
      if (abandoned) {
        owner.has_answered(process);
        return;
      }
      if (marker)
        found.emplace(process.pid, std::move(*marker));
      ++done;
      progress.notify_one();
    }
  }

  // Waits until all have been read, or one was not in time; that one is at `done`.
  void wait(marker_reader& owner) {
    std::unique_lock lock(mutex);
    for (auto seen = done; done < processes.size(); seen = done)
      if (!progress.wait_for(lock, owner.patience_, [&] { return done > seen; })) {
        abandoned = true;
        owner.note_hanging(processes[done]);
        return;
      }
  }
};

marker_reader::marker_reader(read_one read, std::chrono::milliseconds patience)
    : read_(std::move(read)), patience_(patience) {}

std::unordered_map<pid_t, std::string> marker_reader::read(
    std::vector<process_info> const& processes) {
  std::unordered_map<pid_t, std::string> found;
  std::vector<process_info> left;
  for (auto const& process : processes)
    if (!hangs(process))
      left.push_back(process);
  while (!left.empty() && !pool_.overloaded()) {
    auto const work = std::make_shared<round>();
    work->processes = left;
    pool_.submit([this, work] { work->run(*this); });
    work->wait(*this);
    std::lock_guard const lock(work->mutex);
    found.merge(work->found);
    auto const done = work->done + (work->abandoned ? 1 : 0);
    left.erase(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(done));
  }
  return found;
}

bool marker_reader::hangs(process_info const& process) {
  std::lock_guard const lock(mutex_);
  auto const it = hanging_.find(process.pid);
  return it != hanging_.end() && it->second == process.started;
}

void marker_reader::note_hanging(process_info const& process) {
  std::lock_guard const lock(mutex_);
  hanging_[process.pid] = process.started;
}

void marker_reader::has_answered(process_info const& process) {
  std::lock_guard const lock(mutex_);
  auto const it = hanging_.find(process.pid);
  if (it != hanging_.end() && it->second == process.started)
    hanging_.erase(it);
}

marker_reader& marker_reader::common() {
  static auto* const reader = new marker_reader;
  return *reader;
}

}  // namespace hf::agent
