/* SPDX-License-Identifier: MIT */
/* main.c - start and stop of healthd. */
#include "healthd/healthd.h"

#include "common/log.h"
#include "common/memory.h"
#include "common/supervisor.h"
#include "common/trial.h"

#include <stdlib.h>

/* Performs --check. */
static int everything_try(struct conf *conf)
{
    bool good = trial_keys(conf, "healthd");
    good &= trial_bind("healthd.bind", conf->healthd_bind);
    good &= trial_bind("healthd.control", conf->healthd_control);
    conf_destroy(&conf);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct healthd h = {0};
    struct conf *conf = conf_from_args(CONF_HEALTHD, "healthd", argc, argv);

    if (conf->is_check)
        return everything_try(conf);
    log_detach();
    h.conf = conf;
    h.loop = loop_new();
    if (!h.loop || !(h.bus = bus_new(h.loop, conf)))
        return EXIT_FAILURE;
    struct memory *memory = memory_new(h.loop);
    prober_new(&h);
    if (!publisher_new(&h))
        return EXIT_FAILURE;
    struct supervisor *supervisor = supervisor_new(h.loop);
    supervisor_ready(supervisor);
    log_line(LOG_INFO, "started", "publishes", conf->healthd_bind, NULL);

    loop_run(h.loop);

    supervisor_stopping(supervisor);
    supervisor_destroy(&supervisor);
    log_line(LOG_INFO, "stopped", NULL);
    prober_destroy(&h.prober);
    publisher_destroy(&h.publisher);
    bus_destroy(&h.bus);
    memory_destroy(&memory);
    loop_destroy(&h.loop);
    conf_destroy(&conf);
    return EXIT_SUCCESS;
}
