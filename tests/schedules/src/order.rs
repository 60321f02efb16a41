//! Which session takes the next step: as it is written down, or in every order, one after the other.

pub enum Order {
    Written {
        sessions: Vec<usize>,
        next: usize,
    },
    /// The choices of this run, each with how many there were.
    Every {
        choices: Vec<(usize, usize)>,
        next: usize,
    },
}

impl Order {
    pub fn written(sessions: &[usize]) -> Order {
        Order::Written {
            sessions: sessions.to_vec(),
            next: 0,
        }
    }

    /// The first of all orders.
    pub fn first() -> Order {
        Order::Every {
            choices: Vec::new(),
            next: 0,
        }
    }

    /// One of the sessions that can take a step; they are in ascending order, and there is one.
    pub fn choose(&mut self, able: &[usize]) -> usize {
        match self {
            Order::Written { sessions, next } => {
                while let Some(session) = sessions.get(*next) {
                    *next += 1;
                    if able.contains(session) {
                        return *session;
                    }
                }
                able[0]
            }
            Order::Every { choices, next } => {
                if *next == choices.len() {
                    choices.push((0, able.len()));
                }
                let (choice, _) = choices[*next];
                *next += 1;
                // Where a lock goes to another waiter than in the last run there may be fewer.
                able[choice.min(able.len() - 1)]
            }
        }
    }

    /// The next of all orders; false where there is none.
    pub fn advance(&mut self) -> bool {
        let Order::Every { choices, next } = self else {
            return false;
        };
        choices.truncate(*next);
        *next = 0;
        while let Some((choice, of)) = choices.pop() {
            if choice + 1 < of {
                choices.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_comes_once() {
        let mut order = Order::first();
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let mut left = [2, 2, 1];
            let mut taken = Vec::new();
            while left.iter().any(|steps| *steps > 0) {
                let able: Vec<usize> = (0..3).filter(|session| left[*session] > 0).collect();
                let session = order.choose(&able);
                left[session] -= 1;
                taken.push(session);
            }
            assert!(seen.insert(taken));
            if !order.advance() {
                break;
            }
        }
        assert_eq!(seen.len(), 30);
    }
}
