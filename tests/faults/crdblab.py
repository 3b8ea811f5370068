"""Three nodes that speak CockroachDB, before one PostgreSQL server.

SPDX-License-Identifier: ISC
"""
import os

import crdb
from lab import Lab


class CrdbLab(Lab):
    """nodes are those that pgweir sees; primary is the server behind them."""

    def open(self):
        self.primary = self.make_node(0).copy_from(self.template)
        self.primary.settings("synchronous_standby_names = ''\n"
                              'max_pred_locks_per_transaction = 512\n')
        self.primary.start()
        os.chmod(self.base, 0o755)
        self.cluster = crdb.Crdb(self.base, self.primary)
        self.nodes += self.cluster.nodes
        for n in self.nodes:
            n.host = '127.0.0.1'
        self.more = 'health_check_http=' + self.cluster.http_ports
        return self

    def close(self):
        self.cluster.stop()
        self.nodes.clear()
        super().close()
        self.primary.stop()

    def whole(self):
        """All nodes answer."""
        for n in self.nodes:
            n.wait_ready()
