#include "exec/sweep.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <unordered_map>
#include <unordered_set>

namespace hf::agent {
namespace {

using pid_set = std::unordered_set<pid_t>;

class membership {
 public:
  membership(sweep_target const& target, std::vector<process_info> const& all, pid_t agent)
      : target_(target), all_(all), agent_(agent) {
    // A process that has the dead leader's pid is a stranger, and so is its group.
    bool reused = false;
    for (auto const& process : all)
      if (process.pid == target.leader && target.leader_gone &&
          (target.helper == 0 || process.parent != target.helper))
        reused = true;
    if (target.helper != 0)
      known_.insert(target.helper);
    if (!reused)
      known_.insert(target.leader);
  }

  std::vector<process_info> find() {
    // Parents may come after their children: until nothing is found any more.
    for (bool grown = true; grown;) {
      grown = false;
      for (auto const& process : all_)
        if (known_.count(process.pid) == 0 && belongs(process)) {
          known_.insert(process.pid);
          grown = true;
        }
    }
    std::vector<process_info> members;
    for (auto const& process : all_)
      if (known_.count(process.pid) != 0 && process.pid != target_.helper && !process.dead())
        members.push_back(process);
    return members;
  }

 private:
  bool belongs(process_info const& process) {
    if (process.pid == agent_ || process.pid == 1 || process.started + 1 < target_.since)
      return false;
    if (known_.count(process.parent) != 0 || known_.count(process.group) != 0 ||
        known_.count(process.session) != 0)
      return true;
    auto const it = marked_.find(process.pid);
    if (it != marked_.end())
      return it->second;
    bool const marked = !process.dead() && read_run_marker(process.pid) == target_.marker;
    marked_.emplace(process.pid, marked);
    return marked;
  }

  sweep_target const& target_;
  std::vector<process_info> const& all_;
  pid_t agent_;
  pid_set known_;
  std::unordered_map<pid_t, bool> marked_;
};

// Orphans of the agent that are as young as the run and that no run's marker claims.
std::vector<process_info> unmarked_orphans(sweep_target const& target,
                                           std::vector<process_info> const& all, pid_t agent) {
  std::vector<process_info> orphans;
  for (auto const& process : all) {
    if (process.dead() || process.parent != agent || process.started + 1 < target.since ||
        process.pid == target.leader || read_run_marker(process.pid))
      continue;
    orphans.push_back(process);
  }
  return orphans;
}

bool is_alive(pid_t pid, std::vector<process_info> const& all) {
  return std::any_of(all.begin(), all.end(), [pid](process_info const& process) {
    return process.pid == pid && !process.dead();
  });
}

void pause_a_little(std::chrono::milliseconds& pause) {
  std::this_thread::sleep_for(pause);
  pause = (std::min)(pause * 2, std::chrono::milliseconds(50));
}

}  // namespace

std::vector<process_info> members_of(sweep_target const& target,
                                     std::vector<process_info> const& all, pid_t agent) {
  return membership(target, all, agent).find();
}

sweep_result signal_tree(sweep_target const& target, int signal) {
  sweep_result result;
  auto const members = members_of(target, scan_processes(), ::getpid());
  result.alive = members.size();
  for (auto const& process : members)
    result.signalled += signal_process(process, signal) ? 1u : 0u;
  return result;
}

sweep_result kill_tree(sweep_target const& target, std::chrono::milliseconds patience) {
  sweep_result result;
  auto const agent = ::getpid();
  auto const until = std::chrono::steady_clock::now() + patience;
  std::chrono::milliseconds pause(1);
  pid_set reached;
  for (;;) {
    auto const all = scan_processes();
    auto const members = members_of(target, all, agent);
    result.alive = members.size();
    result.blind = all.empty();
    if (members.empty()) {
      if (target.helper == 0 || !is_alive(target.helper, all))
        result.orphans = unmarked_orphans(target, all, agent);
      return result;
    }
    for (auto const& process : members)
      if (signal_process(process, SIGKILL))
        reached.insert(process.pid);
    result.signalled = reached.size();
    if (std::chrono::steady_clock::now() >= until)
      return result;
    pause_a_little(pause);
  }
}

std::size_t signal_descendants(pid_t root, int signal) {
  auto const all = scan_processes();
  pid_set tree{root};
  for (bool grown = true; grown;) {
    grown = false;
    for (auto const& process : all)
      if (tree.count(process.parent) != 0 && tree.insert(process.pid).second)
        grown = true;
  }
  std::size_t alive = 0;
  for (auto const& process : all) {
    if (process.pid == root || process.dead() || tree.count(process.pid) == 0)
      continue;
    ++alive;
    if (signal != 0)
      signal_process(process, signal);
  }
  return alive;
}

std::size_t kill_descendants(pid_t root, std::chrono::milliseconds patience) {
  auto const until = std::chrono::steady_clock::now() + patience;
  std::chrono::milliseconds pause(1);
  for (;;) {
    auto const alive = signal_descendants(root, SIGKILL);
    if (alive == 0 || std::chrono::steady_clock::now() >= until)
      return alive;
    pause_a_little(pause);
  }
}

}  // namespace hf::agent
