/*
 * oneTBB's flow graph: a continue_node a command, with edges from the last command that wrote each of
 * its keys, and from the readers since. The graph is built and run in batches, since a node may get no
 * new edges once it runs: that is how the library is meant to be used for this.
 */
#include "bench/sched/rival_tbb.h"

#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

extern "C" void lks_load_execute(void *ctx, uint32_t worker, uint64_t command);

namespace {

using node = oneapi::tbb::flow::continue_node<oneapi::tbb::flow::continue_msg>;

constexpr uint64_t batch_commands = 4096;

struct key_state {
    node *writer = nullptr;
    std::vector<node *> readers;
};

void run_batch(lks_load *load, uint64_t first, uint64_t end)
{
    oneapi::tbb::flow::graph graph;
    std::vector<std::unique_ptr<node>> nodes;
    std::unordered_map<uint64_t, key_state> keys;
    std::vector<node *> sources;
    nodes.reserve(end - first);
    for (uint64_t i = first; i < end; i++) {
        nodes.push_back(std::make_unique<node>(graph, [load, i](const auto &) {
            lks_load_execute(load, uint32_t(oneapi::tbb::this_task_arena::current_thread_index()),
                             i);
        }));
        node *self = nodes.back().get();
        bool waits = false;
        lks_tbb_command command;
        lks_rival_tbb_read(load, i, &command);
        for (uint32_t k = 0; k < command.count; k++) {
            key_state &key = keys[command.words[k] >> 1];
            if ((command.words[k] & 1) == 0) {
                if (key.writer != nullptr && key.writer != self) {
                    oneapi::tbb::flow::make_edge(*key.writer, *self);
                    waits = true;
                }
                key.readers.push_back(self);
                continue;
            }
            for (node *reader : key.readers) {
                if (reader != self) {
                    oneapi::tbb::flow::make_edge(*reader, *self);
                    waits = true;
                }
            }
            if (key.readers.empty() && key.writer != nullptr && key.writer != self) {
                oneapi::tbb::flow::make_edge(*key.writer, *self);
                waits = true;
            }
            key.readers.clear();
            key.writer = self;
        }
        if (!waits) {
            sources.push_back(self);
        }
    }
    for (node *source : sources) {
        source->try_put(oneapi::tbb::flow::continue_msg());
    }
    graph.wait_for_all();
}

} // namespace

void lks_rival_tbb_run(lks_load *load, uint32_t workers, uint64_t commands)
{
    oneapi::tbb::global_control control(oneapi::tbb::global_control::max_allowed_parallelism,
                                        workers);
    oneapi::tbb::task_arena arena(static_cast<int>(workers));
    arena.execute([=] {
        for (uint64_t first = 0; first < commands; first += batch_commands) {
            const uint64_t end = first + batch_commands;
            run_batch(load, first, end < commands ? end : commands);
        }
    });
}
