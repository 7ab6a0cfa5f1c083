#include "exec/sweep.hpp"

#include "exec/marker_reader.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace hf::agent {
namespace {

using pid_set = std::unordered_set<pid_t>;

// Whose children, group and session a process is in, so that a tree is found in linear time
// whatever the order of its processes.
class kinship {
 public:
  explicit kinship(std::vector<process_info> const& all) {
    for (auto const& process : all) {
      below_[process.parent].push_back(&process);
      if (process.group != process.parent)
        below_[process.group].push_back(&process);
      if (process.session != process.parent && process.session != process.group)
        below_[process.session].push_back(&process);
    }
  }

  /// Adds to `known` all that `belongs` among those below `first`, those below these, and so on.
  template <class Belongs>
  void spread(pid_set& known, std::vector<pid_t> first, Belongs&& belongs) const {
    while (!first.empty()) {
      auto const it = below_.find(first.back());
      first.pop_back();
      if (it == below_.end())
        continue;
      for (auto const* process : it->second)
        if (known.count(process->pid) == 0 && belongs(*process)) {
          known.insert(process->pid);
          first.push_back(process->pid);
        }
    }
  }

 private:
  std::unordered_map<pid_t, std::vector<process_info const*>> below_;
};

// Orphans of the agent that are as young as the run and that no run's marker claims.
std::vector<process_info> unmarked_orphans(sweep_target const& target,
                                           std::vector<process_info> const& all, pid_t agent) {
  std::vector<process_info> orphans;
  for (auto const& process : all)
    if (!process.dead() && process.parent == agent && process.started + 1 >= target.since &&
        process.pid != target.leader)
      orphans.push_back(process);
  auto const markers = marker_reader::common().read(orphans);
  orphans.erase(
      std::remove_if(orphans.begin(), orphans.end(),
                     [&](process_info const& process) { return markers.count(process.pid) != 0; }),
      orphans.end());
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
  // A process that has the dead leader's pid is a stranger, and so is its group.
  bool const reused = std::any_of(all.begin(), all.end(), [&](process_info const& process) {
    return process.pid == target.leader && target.leader_gone &&
           (target.helper == 0 || process.parent != target.helper);
  });
  pid_set known;
  if (target.helper != 0)
    known.insert(target.helper);
  if (!reused)
    known.insert(target.leader);
  auto const may_belong = [&](process_info const& process) {
    return process.pid != agent && process.pid != 1 && process.started + 1 >= target.since;
  };
  kinship const kin(all);
  kin.spread(known, {known.begin(), known.end()}, may_belong);
  // What has left all of that is known by its mark, and leads to more.
  std::vector<process_info> others;
  for (auto const& process : all)
    if (known.count(process.pid) == 0 && may_belong(process) && !process.dead())
      others.push_back(process);
  std::vector<pid_t> marked;
  for (auto const& [pid, marker] : marker_reader::common().read(others))
    if (marker == target.marker && known.insert(pid).second)
      marked.push_back(pid);
  kin.spread(known, std::move(marked), may_belong);
  std::vector<process_info> members;
  for (auto const& process : all)
    if (known.count(process.pid) != 0 && process.pid != target.helper && !process.dead())
      members.push_back(process);
  return members;
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
  std::unordered_map<pid_t, std::vector<pid_t>> children;
  for (auto const& process : all)
    children[process.parent].push_back(process.pid);
  pid_set tree{root};
  for (std::vector<pid_t> next{root}; !next.empty();) {
    auto const parent = next.back();
    next.pop_back();
    for (pid_t const child : children[parent])
      if (tree.insert(child).second)
        next.push_back(child);
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
