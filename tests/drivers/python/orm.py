"""The tables of the SQLAlchemy programs.

SPDX-License-Identifier: ISC
"""
from sqlalchemy import (ARRAY, JSON, Boolean, Column, DateTime, ForeignKey, Integer, LargeBinary, Numeric, Text,
                        UniqueConstraint)
from sqlalchemy.orm import declarative_base, relationship

from features import RUN

Base = declarative_base()


class Author(Base):
    __tablename__ = 'author_' + RUN
    id = Column(Integer, primary_key=True)
    name = Column(Text, unique=True)
    books = relationship('Book', back_populates='author', order_by='Book.id', cascade='all, delete-orphan')


class Book(Base):
    __tablename__ = 'book_' + RUN
    id = Column(Integer, primary_key=True)
    author_id = Column(ForeignKey(Author.id))
    title = Column(Text)
    pages = Column(Integer)
    author = relationship(Author, back_populates='books')
    __table_args__ = (UniqueConstraint('author_id', 'title'),)


class Things(Base):
    __tablename__ = 'things_' + RUN
    id = Column(Integer, primary_key=True)
    price = Column(Numeric(40, 10))
    raw = Column(LargeBinary)
    at = Column(DateTime(timezone=True))
    doc = Column(JSON)
    ints = Column(ARRAY(Integer))
    yes = Column(Boolean)
